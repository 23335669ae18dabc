use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{error::Result, report::Limit};

/// Messages over one connection to a thread that sends back what it reads.
pub(super) fn measure(bytes: usize, in_flight: usize, each: Duration) -> Result<Limit> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    let (other, _) = listener.accept()?;
    other.set_nodelay(true)?;
    let echo = thread::spawn(move || send_back(other, bytes * in_flight));
    let rate = ask(&mut stream, bytes, in_flight, each);
    // The end of the stream is the end of the thread.
    drop(stream);
    let _ = echo.join();
    let name = format!("echo of {bytes} bytes over loopback TCP, one connection, {in_flight} in flight");
    Ok(Limit { name, rate: rate?, unit: "messages".to_owned() })
}

fn send_back(mut stream: TcpStream, room: usize) {
    let mut buffer = vec![0; room];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// Every answer is followed by another message, those that arrived together by as many at once.
fn ask(stream: &mut TcpStream, bytes: usize, in_flight: usize, each: Duration) -> Result<f64> {
    let mut buffer = vec![0; bytes * in_flight];
    stream.write_all(&buffer)?;
    let (mut answered, mut begun) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < each {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        begun += read;
        let whole = begun / bytes;
        begun %= bytes;
        answered += whole;
        stream.write_all(&buffer[..whole * bytes])?;
    }
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}
