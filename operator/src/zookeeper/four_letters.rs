use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a member may take to answer, its name's resolution included.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

/// A member's answer to a command of four letters; none if there is none in time.
pub(super) async fn ask(address: &str, command: &str) -> Option<String> {
    timeout(ANSWER_WITHIN, exchange(address, command)).await.ok()?.ok()
}

async fn exchange(address: &str, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(command.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer).await {
        // It may close with our bytes unread.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
