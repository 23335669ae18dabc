use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use kv_proto::v1::{LinkFrame, NodeHello, replica_message::Body};
use tokio::sync::mpsc;

use super::Outgoing;

/// Bytes of entries after which a frame is closed.
const FRAME_BYTES: usize = 1 << 20;
/// Messages of a frame at most.
const FRAME_MESSAGES: usize = 512;

/// Puts all that waits into as few frames as possible: no message waits for another.
pub(super) struct Frames {
    hello: Option<NodeHello>,
    queue: mpsc::Receiver<Outgoing>,
}

impl Frames {
    pub(super) const fn new(hello: NodeHello, queue: mpsc::Receiver<Outgoing>) -> Self {
        Self { hello: Some(hello), queue }
    }
}

impl Stream for Frames {
    type Item = LinkFrame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LinkFrame>> {
        let mut frame = LinkFrame { hello: self.hello.take(), heartbeat: None, messages: Vec::new() };
        if frame.hello.is_some() {
            return Poll::Ready(Some(frame));
        }
        let Some(mut next) = ready!(self.queue.poll_recv(context)) else { return Poll::Ready(None) };
        let mut bytes = 0;
        loop {
            match next {
                Outgoing::Heartbeat(heartbeat) => frame.heartbeat = Some(heartbeat),
                Outgoing::Message(message) => {
                    bytes += 64;
                    if let Some(Body::Append(append)) = &message.body {
                        bytes += append.entries.iter().map(|entry| entry.payload.len() + 16).sum::<usize>();
                    }
                    frame.messages.push(message);
                }
            }
            if bytes >= FRAME_BYTES || frame.messages.len() >= FRAME_MESSAGES {
                break;
            }
            match self.queue.try_recv() {
                Ok(waiting) => next = waiting,
                Err(_) => break,
            }
        }
        Poll::Ready(Some(frame))
    }
}
