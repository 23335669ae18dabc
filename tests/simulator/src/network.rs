use crate::plan::Micros;

/// Which ways are cut, and until when. Cuts are one-way; a partition is a set of them.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    cut_until: Vec<Micros>,
    zookeeper_cut_until: Vec<Micros>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, cut_until: vec![0; nodes * nodes], zookeeper_cut_until: vec![0; nodes] }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize, now: Micros) -> bool {
        now < self.cut_until[from * self.nodes + to]
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, until: Micros) {
        self.cut_until[from * self.nodes + to] = until;
    }

    pub(crate) fn is_zookeeper_cut(&self, node: usize, now: Micros) -> bool {
        now < self.zookeeper_cut_until[node]
    }

    pub(crate) fn cut_zookeeper(&mut self, node: usize, until: Micros) {
        self.zookeeper_cut_until[node] = until;
    }

    pub(crate) fn heal(&mut self) {
        self.cut_until.fill(0);
        self.zookeeper_cut_until.fill(0);
    }
}
