//! Whether it is this node that is cut off, or ZooKeeper that is down (protocol, section 7).

use std::time::Duration;

use kv_replication::core::Time;

/// What is seen at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Since the last request that ZooKeeper acknowledged to this node.
    pub(super) age: Duration,
    /// Whether a peer that is heard has ZooKeeper.
    pub(super) peer_has: bool,
    /// Whether a majority of the last known members is heard, this node included.
    pub(super) majority: bool,
}

/// Judges from what is seen over time.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// The last moment at which nobody had ZooKeeper, among a majority that was heard.
    nobody_had: Option<Time>,
}

impl CutOff {
    /// Whether the node has to cease at `now`, with sessions of `timeout`: it hears no majority, or peers have ZooKeeper and
    /// it has not, each for two thirds of the timeout.
    ///
    /// Peers that have ZooKeeper again after an outage count from the outage's end: a leader that takes office gives every
    /// session its whole timeout again, and a node that is a little later than its peers would cease for nothing.
    pub(super) fn judge(&mut self, now: Time, timeout: Duration, seen: Seen) -> bool {
        let Seen { age, peer_has, majority } = seen;
        if majority && !peer_has && age >= timeout / 3 {
            self.nobody_had = Some(now);
        }
        if age < timeout * 2 / 3 {
            return false;
        }
        let missed = self.nobody_had.map_or(age, |at| age.min(now.since(at)));
        !majority || (peer_has && missed >= timeout * 2 / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(6);
    const STEP: Duration = Duration::from_millis(100);

    /// When the node ceases, in milliseconds from the last request that ZooKeeper acknowledged to it.
    fn ceases(until: u64, sees: impl Fn(u64) -> (bool, bool)) -> Option<u64> {
        let mut judge = CutOff::default();
        let mut age = Duration::ZERO;
        while age <= Duration::from_millis(until) {
            let at = u64::try_from(age.as_millis()).unwrap();
            let (peer_has, majority) = sees(at);
            if judge.judge(Time(9_000_000) + age, TIMEOUT, Seen { age, peer_has, majority }) {
                return Some(at);
            }
            age += STEP;
        }
        None
    }

    #[test]
    fn a_node_whose_peers_have_zookeeper_ceases_at_two_thirds_of_the_timeout() {
        assert_eq!(ceases(10_000, |_| (true, true)), Some(4_000));
    }

    #[test]
    fn a_node_that_hears_no_majority_ceases_at_two_thirds_of_the_timeout() {
        assert_eq!(ceases(10_000, |_| (false, false)), Some(4_000));
        assert_eq!(ceases(100_000, |at| (false, at < 50_000)), Some(50_000), "ZooKeeper's absence is no excuse");
    }

    #[test]
    fn nobody_ceases_while_nobody_has_zookeeper() {
        assert_eq!(ceases(600_000, |_| (false, true)), None);
    }

    #[test]
    fn peers_that_have_zookeeper_again_count_from_then_on() {
        assert_eq!(ceases(60_000, |at| (at >= 30_000, true)), Some(33_900));
    }

    #[test]
    fn a_peer_that_lost_zookeeper_a_little_later_does_not_make_the_others_cease() {
        // Its last answer came up to a third of the timeout after this node's.
        assert_eq!(ceases(600_000, |at| (at < 3_900, true)), None);
    }

    #[test]
    fn a_former_outage_does_not_excuse_a_later_cut() {
        let mut judge = CutOff::default();
        let seen = |age, peer_has| Seen { age, peer_has, majority: true };
        assert!(!judge.judge(Time(1_000_000), TIMEOUT, seen(TIMEOUT, false)));
        // An hour later.
        assert!(judge.judge(Time(3_600_000_000), TIMEOUT, seen(TIMEOUT * 2 / 3, true)));
    }
}
