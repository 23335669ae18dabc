//! The proxy, between a client and an echo server on loopback.

#![allow(clippy::expect_used, reason = "helpers of tests are tests")]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use kv_local::{Callers, Mode, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(20);
/// Nothing may pass for so long.
const NOTHING: Duration = Duration::from_millis(200);

/// Echoes, with `mark` before each connection's bytes.
async fn echo(mark: u8) -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                write.write_all(&[mark]).await?;
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    let mark = timeout(STUCK, stream.read_u8()).await.expect("in time").expect("it carries");
    (stream, mark)
}

async fn exchange(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    timeout(STUCK, stream.read_exact(&mut answer)).await.expect("in time")?;
    assert_eq!(answer, text);
    Ok(())
}

#[tokio::test]
async fn carries_both_ways_and_passes_the_end_on() {
    let proxy = Proxy::start(LOOPBACK, vec![echo(b'a').await]).await.expect("it listens");
    let (mut stream, _) = connect(&proxy).await;
    exchange(&mut stream, &vec![7; 300_000]).await.expect("it carries");
    stream.write_all(b"last").await.expect("it carries");
    stream.shutdown().await.expect("it is open");
    let mut rest = Vec::new();
    timeout(STUCK, stream.read_to_end(&mut rest)).await.expect("in time").expect("it carries");
    assert_eq!(rest, b"last");
}

#[tokio::test]
async fn a_cut_closes_what_is_there_and_refuses_what_comes() {
    let mut proxy = Proxy::start(LOOPBACK, vec![echo(b'a').await]).await.expect("it listens");
    let (mut stream, _) = connect(&proxy).await;
    exchange(&mut stream, b"before").await.expect("it carries");
    proxy.set(Mode::Cut).await.expect("it cuts");
    let read = timeout(STUCK, stream.read_u8()).await.expect("in time");
    assert!(read.is_err(), "the connection is closed");
    let refused = TcpStream::connect(proxy.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    proxy.set(Mode::Pass).await.expect("it listens again");
    let (mut stream, _) = connect(&proxy).await;
    exchange(&mut stream, b"after").await.expect("it carries");
}

#[tokio::test]
async fn a_blackhole_holds_bytes_and_loses_none() {
    let mut proxy = Proxy::start(LOOPBACK, vec![echo(b'a').await]).await.expect("it listens");
    let (mut stream, _) = connect(&proxy).await;
    proxy.set(Mode::Blackhole).await.expect("it stalls");
    stream.write_all(b"held").await.expect("it is open");
    let mut newcomer = TcpStream::connect(proxy.address()).await.expect("it accepts");
    assert!(timeout(NOTHING, stream.read_u8()).await.is_err(), "nothing passes");
    assert!(timeout(NOTHING, newcomer.read_u8()).await.is_err(), "nothing passes");

    proxy.set(Mode::Pass).await.expect("it carries again");
    let mut held = [0; 4];
    timeout(STUCK, stream.read_exact(&mut held)).await.expect("in time").expect("it carries");
    assert_eq!(&held, b"held");
    let mark = timeout(STUCK, newcomer.read_u8()).await.expect("in time").expect("it carries");
    assert_eq!(mark, b'a');

    proxy.set(Mode::Blackhole).await.expect("it stalls");
    proxy.set(Mode::Cut).await.expect("it cuts");
    let read = timeout(STUCK, stream.read_u8()).await.expect("in time");
    assert!(read.is_err(), "a cut closes what a blackhole held");
}

#[tokio::test]
async fn a_delay_holds_each_burst() {
    let mut proxy = Proxy::start(LOOPBACK, vec![echo(b'a').await]).await.expect("it listens");
    let (mut stream, _) = connect(&proxy).await;
    let delay = Duration::from_millis(100);
    proxy.set(Mode::Delay(delay)).await.expect("it delays");
    let started = Instant::now();
    exchange(&mut stream, b"slow").await.expect("it carries");
    assert!(started.elapsed() >= delay * 2, "once there, once back");
}

#[tokio::test]
async fn takes_turns_among_upstreams_and_skips_the_dead() {
    let dead = {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
        listener.local_addr().expect("bound")
    };
    let upstreams = vec![echo(b'a').await, dead, echo(b'b').await];
    let proxy = Proxy::start(LOOPBACK, upstreams).await.expect("it listens");
    let mut marks = Vec::new();
    for _ in 0..6 {
        marks.push(connect(&proxy).await.1);
    }
    assert_eq!(marks, b"abbabb");
}

/// Callers are told apart on Linux only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_callers_link_is_cut_and_the_others_go_on() {
    let callers = Arc::new(Callers::default());
    callers.set(1, std::process::id());
    let proxy = Proxy::start_for(LOOPBACK, vec![echo(b'a').await], callers).await.expect("it listens");
    let (mut stream, _) = connect(&proxy).await;
    proxy.set_link(2, Mode::Cut);
    exchange(&mut stream, b"another's link is cut").await.expect("it carries");
    proxy.set_link(1, Mode::Blackhole);
    stream.write_all(b"late").await.expect("it is open");
    let mut answer = [0; 4];
    assert!(timeout(NOTHING, stream.read_exact(&mut answer)).await.is_err(), "nothing passes");
    proxy.set_link(1, Mode::Pass);
    timeout(STUCK, stream.read_exact(&mut answer)).await.expect("in time").expect("it arrives when this ends");
    proxy.set_link(1, Mode::Cut);
    let closed = timeout(STUCK, stream.read_u8()).await.expect("in time");
    assert!(closed.is_err(), "{closed:?}");
    let mut refused = TcpStream::connect(proxy.address()).await.expect("it listens");
    let closed = timeout(STUCK, refused.read_u8()).await.expect("in time");
    assert!(closed.is_err(), "{closed:?}");
    proxy.set_link(1, Mode::Pass);
    let (mut stream, _) = connect(&proxy).await;
    exchange(&mut stream, b"again").await.expect("it carries");
}
