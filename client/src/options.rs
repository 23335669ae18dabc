use std::time::Duration;

use crate::{Error, Result, discovery};

/// Where a client learns which nodes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `host:port,host:port/root`: the servers of ZooKeeper and the cluster's root. Read at connect, and again when no
    /// node that is known can be reached.
    ZooKeeper(String),
    /// Addresses (`host:port`) of nodes; one is enough, since any node passes requests on.
    Nodes(Vec<String>),
}

/// How requests reach a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Many at a time on one stream per node: the fast path.
    #[default]
    Pipeline,
    /// One gRPC call for each.
    Unary,
}

/// What a [`crate::Client`] is told at its start. Begin with [`ClientOptions::new`].
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where nodes are found.
    pub discovery: Discovery,
    /// UUID text of the cluster that is meant; a node of another one then refuses with [`Error::WrongCluster`].
    pub cluster: Option<String>,
    /// How long a request may take with all its retries.
    pub deadline: Duration,
    /// How long one attempt may take before it is given up as unknown and tried through another node. Writes without a
    /// session have one attempt of the whole deadline.
    pub attempt_timeout: Duration,
    /// How long the making of a connection may take.
    pub connect_timeout: Duration,
    /// Whether writes carry a session, so that one of unknown outcome can be sent again and is applied once. Without,
    /// it ends in [`Error::OutcomeUnknown`].
    pub sessions: bool,
    /// Whether a failed request is sent again at all. `false`: the first failure is the answer (but a new session is
    /// opened for one that has expired).
    pub retries: bool,
    /// How requests reach a node.
    pub transport: Transport,
    /// Requests in flight to one node, at most; further ones wait.
    pub in_flight: usize,
    /// Whether to go to the node that an answer names. `false`: only the nodes given by `discovery` are asked.
    pub follow_locations: bool,
    /// How long a watch goes on trying to resume after it was cut.
    pub watch_patience: Duration,
}

impl ClientOptions {
    /// The most that [`ClientOptions::in_flight`] may be.
    pub const MAX_IN_FLIGHT: usize = 1 << 16;
    /// The longest that any duration of the options may be.
    pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

    /// The defaults: 10 s deadline, 1 s an attempt, 1 s to connect, sessions, retries, pipeline, 1,024 in flight to a node,
    /// locations followed, watches resumed for 60 s.
    #[must_use]
    pub fn new(discovery: Discovery) -> Self {
        Self {
            discovery,
            cluster: None,
            deadline: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            sessions: true,
            retries: true,
            transport: Transport::Pipeline,
            in_flight: 1024,
            follow_locations: true,
            watch_patience: Duration::from_secs(60),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let durations = [
            ("deadline", self.deadline),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
            ("watch_patience", self.watch_patience),
        ];
        for (name, value) in durations {
            if value.is_zero() || value > Self::MAX_DURATION {
                let bound = Self::MAX_DURATION;
                return Err(Error::Invalid(format!("{name} is {value:?}: give more than 0 and at most {bound:?}")));
            }
        }
        if !(1..=Self::MAX_IN_FLIGHT).contains(&self.in_flight) {
            let (value, bound) = (self.in_flight, Self::MAX_IN_FLIGHT);
            return Err(Error::Invalid(format!("in_flight is {value}: give 1 to {bound}")));
        }
        if self.discovery == Discovery::Nodes(Vec::new()) {
            return Err(Error::Invalid("no node is given: give at least one host:port".into()));
        }
        if let Discovery::ZooKeeper(zookeeper) = &self.discovery {
            discovery::parse(zookeeper)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_their_bounds_are_refused_by_name() {
        let good = ClientOptions::new(Discovery::Nodes(vec!["127.0.0.1:1".into()]));
        assert_eq!(good.validate(), Ok(()));
        let refused = |options: ClientOptions| options.validate().expect_err("out of bounds").to_string();
        assert!(refused(ClientOptions { in_flight: 0, ..good.clone() }).contains("in_flight is 0"));
        assert!(refused(ClientOptions { deadline: Duration::ZERO, ..good.clone() }).contains("deadline"));
        let elsewhere = |discovery| refused(ClientOptions { discovery, ..good.clone() });
        assert!(elsewhere(Discovery::Nodes(vec![])).contains("no node"));
        assert!(elsewhere(Discovery::ZooKeeper("127.0.0.1:1".into())).contains("host:port/root"));
    }
}
