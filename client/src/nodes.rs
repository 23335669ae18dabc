use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// The addresses of nodes that are known, and which of them did not answer lately.
#[derive(Debug)]
pub(crate) struct Nodes {
    known: RwLock<Vec<Node>>,
    /// Where the search for a node begins: chosen anew by each client, so that they spread over the nodes.
    first: usize,
}

#[derive(Debug)]
struct Node {
    address: Arc<str>,
    shunned_until: Option<Instant>,
}

impl Nodes {
    /// Addresses that are kept at most.
    pub const MAX_KNOWN: usize = 1024;
    /// How long a node that did not answer is left out, if there is another.
    pub const SHUN: Duration = Duration::from_secs(1);

    pub fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        let first = RandomState::new().hash_one(0) as usize;
        let nodes = Self { known: RwLock::new(Vec::new()), first };
        for address in addresses {
            nodes.add(&address);
        }
        nodes
    }

    pub fn add(&self, address: &str) {
        if address.is_empty() || self.read(|known| known.iter().any(|node| node.address.as_ref() == address)) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < Self::MAX_KNOWN && !known.iter().any(|node| node.address.as_ref() == address) {
            known.push(Node { address: address.into(), shunned_until: None });
        }
    }

    /// Whether a node answered lately, or was not asked.
    pub fn is_shunned(&self, address: &str, now: Instant) -> bool {
        self.read(|known| known.iter().any(|node| node.address.as_ref() == address && node.is_shunned(now)))
    }

    /// Any node: one that is neither `avoided` nor shunned, else one that is not `avoided`, else any.
    pub fn any(&self, avoided: Option<&str>, now: Instant) -> Option<Arc<str>> {
        self.read(|known| {
            let first = self.first.checked_rem(known.len())?;
            let rank = |node: &&Node| (avoided == Some(node.address.as_ref()), node.is_shunned(now));
            let in_turn = known[first..].iter().chain(&known[..first]);
            in_turn.min_by_key(rank).map(|node| node.address.clone())
        })
    }

    pub fn shun(&self, address: &str, now: Instant) {
        self.set(address, Some(now + Self::SHUN));
    }

    fn set(&self, address: &str, until: Option<Instant>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known.iter_mut().find(|node| node.address.as_ref() == address) {
            node.shunned_until = until;
        }
    }

    pub fn addresses(&self) -> Vec<Arc<str>> {
        self.read(|known| known.iter().map(|node| node.address.clone()).collect())
    }

    fn read<T>(&self, look: impl FnOnce(&[Node]) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Node {
    fn is_shunned(&self, now: Instant) -> bool {
        self.shunned_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_did_not_answer_is_left_out_while_there_is_another() {
        let nodes = Nodes::new(["a:1".to_owned(), "b:1".to_owned(), "a:1".to_owned()]);
        let now = Instant::now();
        assert_eq!(nodes.addresses().len(), 2);
        nodes.shun("a:1", now);
        assert_eq!(nodes.any(None, now).as_deref(), Some("b:1"));
        assert_eq!(nodes.any(Some("b:1"), now).as_deref(), Some("a:1"));
        nodes.shun("b:1", now);
        assert!(nodes.any(None, now).is_some());
        assert!(!nodes.is_shunned("a:1", now + Nodes::SHUN));
        assert_eq!(Nodes::new([]).any(None, now), None);
    }
}
