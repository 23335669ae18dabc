//! A request by HTTP/1.1 to a server on this machine, for a look at its state.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{Error, Result};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Sends what is to be sent, and reads until the other side closes. ZooKeeper's words of four letters are answered so too.
pub(crate) async fn ask(address: SocketAddr, question: &str) -> Result<String> {
    let answer = timeout(ANSWER_WITHIN, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    });
    match answer.await {
        Ok(answer) => answer.map_err(Error::request),
        Err(_) => Err(Error::request(format!("no answer from {address} within {ANSWER_WITHIN:?}"))),
    }
}

/// The body of the answer, as JSON, to `body` (empty: a GET).
pub(crate) async fn json(address: SocketAddr, path: &str, body: &str) -> Result<serde_json::Value> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let length = body.len();
    let answer = ask(address, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).await?;
    let unreadable = |why: String| Error::Unreadable { what: format!("the answer of {address}{path}"), why };
    // One object, whether it comes in chunks or not.
    let object = answer.find('{').zip(answer.rfind('}')).filter(|(start, end)| start < end);
    let (start, end) = object.ok_or_else(|| unreadable(answer.lines().next().unwrap_or_default().to_owned()))?;
    serde_json::from_str(&answer[start..=end]).map_err(|error| unreadable(error.to_string()))
}
