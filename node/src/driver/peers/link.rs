//! The connection that this node dials to another.

use std::{convert::Infallible, sync::Arc, time::Duration};

use kv_proto::v1::{self, replica_client::ReplicaClient};
use kv_types::{Folder, NodeName};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, info};

use super::{QUEUE, Shared, batch::Frames, deliver, link_lost};

/// Version of the frames; a peer of another version is refused.
pub(super) const WIRE_VERSION: u32 = 1;
/// Longest frame that is taken, in bytes: a batch of the longest entries.
pub(super) const MAX_FRAME: usize = 64 << 20;

/// Pauses between attempts to dial, growing from the first to the second.
const PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// Different reasons for which connections end that are told until the peer is heard again.
const MOST_TOLD: usize = 8;

/// A connection to a node, for links and snapshots. The one place where nodes are dialled.
pub(in crate::driver) async fn connect(address: &str, limit: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let endpoint = endpoint.connect_timeout(limit).tcp_nodelay(true).initial_stream_window_size(8 << 20);
    endpoint.initial_connection_window_size(16 << 20).connect().await.map_err(|error| error.to_string())
}

pub(super) fn hello(shared: &Shared) -> v1::NodeHello {
    let volume = |folder: Folder| {
        let volume = shared.volumes.iter().find(|volume| volume.folder == folder);
        volume.map(|volume| super::wire::encode_volume(volume.id)).unwrap_or_default()
    };
    v1::NodeHello {
        wire_version: WIRE_VERSION,
        cluster: shared.cluster().cluster_uuid().to_string(),
        node: shared.node.to_string(),
        data_volume: volume(Folder::Data),
        bkpdata_volume: volume(Folder::Bkpdata),
    }
}

/// Keeps a connection to `peer`, until it is aborted.
pub(super) async fn dial(shared: Arc<Shared>, peer: NodeName, address: String) {
    let mut pause = PAUSE;
    let mut told = Vec::new();
    loop {
        match connect(&address, shared.lease()).await {
            Ok(channel) => {
                debug!(%peer, address, "connected");
                let (heard, why) = run(&shared, &peer, channel).await;
                if heard {
                    pause = PAUSE;
                    told.clear();
                }
                if is_news(&mut told, &why) {
                    info!(%peer, address, why, "connection to a node has ended");
                } else {
                    debug!(%peer, address, why, "connection to a node has ended again");
                }
                shared.peers.connected_up(&peer, None);
                link_lost(&shared, &peer);
            }
            Err(error) => debug!(%peer, address, error, "node can't be reached"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Whether this has not been told since the peer was last heard. Where something accepts connections for a node that is not there, each
/// of them fails, in a few ways; a refusal, such as for another version, must not be lost among them.
fn is_news(told: &mut Vec<String>, why: &str) -> bool {
    let news = told.len() < MOST_TOLD && !told.iter().any(|before| before == why);
    if news {
        told.push(why.to_owned());
    }
    news
}

/// Until the connection ends: whether the peer was heard on it, and why it ended.
async fn run(shared: &Arc<Shared>, peer: &NodeName, channel: Channel) -> (bool, String) {
    let mut heard = false;
    let Err(why) = serve(shared, peer, channel, &mut heard).await;
    (heard, why)
}

async fn serve(
    shared: &Arc<Shared>,
    peer: &NodeName,
    channel: Channel,
    heard: &mut bool,
) -> Result<Infallible, String> {
    // Both ends send heartbeats every tenth of a lease: silence means that the connection is dead, whatever TCP says.
    let silence = shared.lease() * 3;
    let (queue, receiver) = mpsc::channel(QUEUE);
    let mut client =
        ReplicaClient::new(channel).max_decoding_message_size(MAX_FRAME).max_encoding_message_size(MAX_FRAME);
    let link = timeout(silence, client.link(Frames::new(hello(shared), receiver))).await;
    let mut frames = link.map_err(|_| "no answer".to_owned())?.map_err(|status| status.to_string())?.into_inner();
    let mut queue = Some(queue);
    loop {
        let frame = timeout(silence, frames.message()).await.map_err(|_| format!("silent for {silence:?}"))?;
        let Some(frame) = frame.map_err(|status| status.to_string())? else { return Err("closed".into()) };
        if let Some(hello) = &frame.hello
            && hello.node != peer.as_str()
        {
            return Err(format!("{} answers at its address", hello.node));
        }
        *heard = true;
        if let Some(queue) = queue.take() {
            shared.peers.connected_up(peer, Some(queue));
            link_lost(shared, peer);
        }
        shared.note_sizes(super::heartbeat::sizes(frame.heartbeat.as_ref()));
        shared.peers.heard(peer, true, shared.now(), frame.heartbeat);
        deliver(shared, frame.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_and_only_so_many() {
        let mut told = Vec::new();
        assert!(is_news(&mut told, "reset"));
        assert!(!is_news(&mut told, "reset"));
        assert!(is_news(&mut told, "kv-1 speaks wire version 2"));
        let more = (0..100).filter(|number| is_news(&mut told, &number.to_string())).count();
        assert_eq!(more + 2, MOST_TOLD);
    }
}
