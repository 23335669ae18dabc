use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Which node opened a connection. All nodes have the same IP address, so that only the system's tables tell them apart.
#[derive(Debug, Default)]
pub struct Callers {
    processes: Mutex<BTreeMap<usize, u32>>,
}

impl Callers {
    /// A node has this process from now on.
    pub fn set(&self, node: usize, process: u32) {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).insert(node, process);
    }

    /// The node whose process has the end `from` of a connection to `to`; `None`: another process, or it is gone, or this
    /// is no Linux. Blocks.
    pub(crate) fn who(&self, from: SocketAddr, to: SocketAddr) -> Option<usize> {
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        let socket = format!("socket:[{}]", inode(&table, from, to)?);
        let processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        processes.into_iter().find(|(_, process)| has(*process, &socket)).map(|(node, _)| node)
    }
}

fn has(process: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(socket)))
}

/// Of the system's table: number, own address, other address, state, then (tenth) the inode.
fn inode(table: &str, from: SocketAddr, to: SocketAddr) -> Option<&str> {
    let (from, to) = (written(from)?, written(to)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == from && fields.next()? == to).then_some(())?;
        fields.nth(6)
    })
}

/// The address's bytes as a number of this machine, both in hexadecimal.
fn written(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_caller_is_known_by_its_process() {
        if !Path::new("/proc/net/tcp").exists() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("it listens");
        let near = TcpStream::connect(to).expect("it accepts");
        let from = near.local_addr().expect("it is connected");
        let callers = Callers::default();
        // Process 1 exists and has not opened it.
        callers.set(0, 1);
        assert_eq!(callers.who(from, to), None);
        callers.set(3, std::process::id());
        assert_eq!(callers.who(from, to), Some(3));
        assert_eq!(callers.who(to, to), None, "there is no such connection");
    }
}
