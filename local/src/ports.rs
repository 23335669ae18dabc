use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{Error, Result};

/// Below the ports that Linux gives to outgoing connections: a port whose process is dead for a while can't be taken by
/// a connection, nor a client connect to itself.
const FIRST: u16 = 10_000;
const END: u16 = 32_600;
const BLOCK: u16 = 200;
/// Of each node: its own port, its HTTP port and those of its two proxies.
const PORTS_PER_NODE: u16 = 4;
/// The block's own port and three of each of three ZooKeeper servers.
const PORTS_BESIDE_NODES: u16 = 10;

/// A range of loopback ports that belongs to one cluster for as long as this lives, so that addresses survive restarts
/// of their processes and clusters of tests that run at the same time don't collide.
#[derive(Debug)]
pub struct PortBlock {
    base: u16,
    next: u16,
    /// Bound to the first port of the block: that is what claims the block among processes.
    _claim: TcpListener,
}

impl PortBlock {
    /// Claims a free block, `preferred` (from [`PortBlock::base`]) if that one is free.
    ///
    /// # Errors
    /// [`Error::NoPorts`] if every block is taken.
    pub fn claim(preferred: Option<u16>) -> Result<Self> {
        let blocks = (END - FIRST) / BLOCK;
        // Processes that start at the same time begin the search at different blocks.
        let first = u16::try_from(std::process::id() % u32::from(blocks)).unwrap_or(0);
        let searched = (0..blocks).map(|offset| FIRST + (first + offset) % blocks * BLOCK);
        let preferred = preferred.filter(|base| (FIRST..END).contains(base) && (base - FIRST).is_multiple_of(BLOCK));
        preferred
            .into_iter()
            .chain(searched)
            .find_map(|base| {
                let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, base)).ok()?;
                Some(Self { base, next: base + 1, _claim: claim })
            })
            .ok_or(Error::NoPorts { from: FIRST, to: END })
    }

    /// The block's first port.
    #[must_use]
    pub const fn base(&self) -> u16 {
        self.base
    }

    /// The next address of the block that nobody listens on.
    ///
    /// # Errors
    /// [`Error::PortsUsedUp`] past the end of the block.
    pub fn take(&mut self) -> Result<SocketAddr> {
        let end = self.base + BLOCK;
        while self.next < end {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        let nodes = (BLOCK - PORTS_BESIDE_NODES) / PORTS_PER_NODE;
        Err(Error::PortsUsedUp { from: self.base, to: end - 1, nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_no_port() {
        let mut a = PortBlock::claim(None).expect("a block is free");
        let mut b = PortBlock::claim(Some(a.base())).expect("another block is free");
        assert_ne!(a.base(), b.base());
        let (of_a, of_b) = (a.take().expect("a port"), b.take().expect("a port"));
        assert_eq!(of_a.port() / BLOCK, a.base() / BLOCK);
        assert_eq!(of_b.port() / BLOCK, b.base() / BLOCK);
    }

    #[test]
    fn a_block_is_free_again_after_use_and_ends_with_an_error() {
        let base = PortBlock::claim(None).expect("a block is free").base();
        let mut again = PortBlock::claim(Some(base)).expect("a block is free");
        let last = std::iter::from_fn(|| again.take().ok()).last().expect("ports");
        assert!(last.port() < again.base() + BLOCK);
        assert!(matches!(again.take(), Err(Error::PortsUsedUp { .. })));
    }
}
