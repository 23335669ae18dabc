use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 16 * 1024;

/// Why a member does not count as alive or ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No answer.
    #[error("{address} does not answer {command:?} within {within:?}")]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// What.
        command: &'static str,
        /// How long it was waited for.
        within: Duration,
        /// Why not.
        source: io::Error,
    },
    /// Another answer.
    #[error("{address} answers {command:?} with {answer:?}")]
    Answer {
        /// Who was asked.
        address: SocketAddr,
        /// What.
        command: &'static str,
        /// The beginning of the answer.
        answer: String,
    },
}

/// Whether a member serves: it does if it knows its mode. (`ruok` is answered without a quorum too.) Returns the mode.
///
/// # Errors
/// [`ProbeError`] if not.
pub fn ready(address: SocketAddr, within: Duration) -> Result<String, ProbeError> {
    let answer = ask(address, "srvr", within)?;
    match answer.lines().find_map(|line| line.strip_prefix("Mode: ")) {
        Some(mode) => Ok(mode.trim().to_owned()),
        None => Err(other(address, "srvr", &answer)),
    }
}

/// Whether a member's process answers at all.
///
/// # Errors
/// [`ProbeError`] if not.
pub fn alive(address: SocketAddr, within: Duration) -> Result<(), ProbeError> {
    let answer = ask(address, "ruok", within)?;
    if answer.trim() == "imok" { Ok(()) } else { Err(other(address, "ruok", &answer)) }
}

fn other(address: SocketAddr, command: &'static str, answer: &str) -> ProbeError {
    ProbeError::Answer { address, command, answer: answer.trim().chars().take(100).collect() }
}

fn ask(address: SocketAddr, command: &'static str, within: Duration) -> Result<String, ProbeError> {
    exchange(address, command, within).map_err(|source| ProbeError::NoAnswer { address, command, within, source })
}

/// A deadline for the whole: one for each read would let an answer trickle in for ever.
fn exchange(address: SocketAddr, command: &str, within: Duration) -> io::Result<String> {
    let started = Instant::now();
    let left = || match within.checked_sub(started.elapsed()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::Error::from(io::ErrorKind::TimedOut)),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(command.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while answer.len() < MAX_ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            // It may close with our bytes unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    fn server(answer: &'static str, trickle: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut command = [0; 4];
            stream.read_exact(&mut command).expect("a command");
            stream.write_all(answer.as_bytes()).expect("written");
            while trickle && stream.write_all(b".").is_ok() {
                thread::sleep(SHORT / 10);
            }
        });
        address
    }

    #[test]
    fn only_a_mode_means_ready() {
        let patient = Duration::from_secs(10);
        let mode = ready(server("Zookeeper version: 3\nMode: leader\nNode count: 5\n", false), patient);
        assert_eq!(mode.expect("ready"), "leader");
        let without = ready(server("This ZooKeeper instance is not currently serving requests\n", false), patient);
        assert!(matches!(without, Err(ProbeError::Answer { .. })), "{without:?}");
        alive(server("imok", false), patient).expect("alive");
        assert!(alive(server("", false), patient).is_err());
    }

    #[test]
    fn an_answer_that_does_not_end_is_no_answer() {
        let started = Instant::now();
        let endless = ready(server("Mode: leader\n", true), SHORT);
        assert!(matches!(endless, Err(ProbeError::NoAnswer { .. })), "{endless:?}");
        assert!(started.elapsed() < SHORT * 10);
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        assert!(matches!(alive(free, SHORT), Err(ProbeError::NoAnswer { .. })));
    }
}
