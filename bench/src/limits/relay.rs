use std::{
    io::{BufRead, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, copy_bidirectional_with_sizes, copy_buf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::error::{Error, Result};

/// Of each direction: as much as 256 messages and some more.
const BUFFER_BYTES: usize = 64 << 10;

/// What `kv-bench relay` is: a node without a store. It prints two addresses of its own: one sends back what it reads, as a
/// primary answers a read; the other passes it on to the first address of another node, which it reads from its input,
/// and sends back what comes from there, as a primary waits for its backup. It ends with its input.
///
/// # Errors
/// [`Error::Machine`] or [`Error::Unreadable`].
pub async fn relay() -> Result<()> {
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let pass = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{} {}", echo.local_addr()?, pass.local_addr()?);
    let mut input = tokio::io::BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let next = address(line.trim())?;
    let mut connections = JoinSet::new();
    let mut rest = Vec::new();
    // It has nothing more to say than that it ends.
    let end = input.read_to_end(&mut rest);
    tokio::pin!(end);
    loop {
        tokio::select! {
            accepted = echo.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(send_back(stream));
            }
            accepted = pass.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(pass_on(stream, next));
            }
            ended = &mut end => {
                ended?;
                return Ok(());
            }
        }
    }
}

async fn send_back(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    copy_buf(&mut tokio::io::BufReader::with_capacity(BUFFER_BYTES, read), &mut write).await?;
    Ok(())
}

async fn pass_on(mut stream: TcpStream, next: SocketAddr) -> std::io::Result<()> {
    let mut other = TcpStream::connect(next).await?;
    stream.set_nodelay(true)?;
    other.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut stream, &mut other, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|error| Error::Unreadable {
        what: format!("the address {text:?} of a relay"),
        why: format!("{error}"),
    })
}

/// One of them, as a process of its own.
#[derive(Debug)]
pub(super) struct Relay {
    child: Child,
    input: Option<ChildStdin>,
    pub(super) echo: SocketAddr,
    pub(super) pass: SocketAddr,
}

impl Relay {
    /// So many, each of which passes on to the following one, and the last one to the first.
    pub(super) fn ring(program: &std::path::Path, number: usize) -> Result<Vec<Self>> {
        let mut ring = (0..number).map(|_| Self::start(program)).collect::<Result<Vec<_>>>()?;
        let mut following: Vec<_> = ring.iter().map(|relay| relay.echo).collect();
        following.rotate_left(1);
        for (relay, next) in ring.iter_mut().zip(following) {
            if let Some(input) = &mut relay.input {
                writeln!(input, "{next}")?;
            }
        }
        Ok(ring)
    }

    fn start(program: &std::path::Path) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("relay")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| kv_local::Error::Start { program: program.display().to_string(), source })?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        let (echo, pass) = line.trim().split_once(' ').unwrap_or_default();
        Ok(Self { echo: address(echo)?, pass: address(pass)?, child, input })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
