use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::{Serialize, Serializer};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of a node, started again.
    Kill,
    /// SIGKILL of all nodes, started again in another order.
    KillAll,
    /// SIGSTOP of a node, SIGCONT.
    Pause,
    /// A node restarted with other clocks since boot (a time namespace of its own).
    Boot,
    /// The wall clock of a running node set.
    WallClock,
    /// A node cut off ZooKeeper, or what is sent between them held back.
    ZooKeeperCut,
    /// What passes between a node and ZooKeeper slowed.
    ZooKeeperSlow,
    /// A node that nobody reaches from outside.
    Unreachable,
    /// Connections that one node opens to another cut, or what is sent over them held back.
    LinkCut,
    /// The same, of both nodes.
    PairCut,
    /// Connections that one node opens to another slowed.
    LinkSlow,
    /// Packets to and from a node lost.
    Losses,
    /// No room left on a volume.
    DiskFull,
    /// Volumes emptied.
    Wipe,
    /// Bytes flipped in files at rest.
    Flip,
    /// A server of ZooKeeper killed: its leader, or another one.
    ZooKeeperServer,
    /// All servers of ZooKeeper killed, and started again with what they had.
    ZooKeeperGone,
    /// ZooKeeper lost with all it held, and rebuilt from what the nodes know.
    ZooKeeperLost,
}

/// How often a fault is drawn, by its weight, and its bounds: the shortest and the longest it lasts, in milliseconds.
const FAULTS: [(Fault, u32, u64, u64); 18] = [
    (Fault::Kill, 6, 100, 6_000),
    (Fault::KillAll, 1, 100, 3_000),
    (Fault::Pause, 4, 200, 5_000),
    (Fault::Boot, 2, 100, 2_000),
    (Fault::WallClock, 2, 2_000, 8_000),
    (Fault::ZooKeeperCut, 3, 500, 8_000),
    (Fault::ZooKeeperSlow, 1, 1_000, 8_000),
    (Fault::Unreachable, 2, 500, 6_000),
    (Fault::LinkCut, 3, 500, 6_000),
    (Fault::PairCut, 3, 500, 6_000),
    (Fault::LinkSlow, 2, 1_000, 8_000),
    (Fault::Losses, 3, 1_000, 8_000),
    (Fault::DiskFull, 2, 1_000, 6_000),
    (Fault::Wipe, 3, 0, 1_000),
    (Fault::Flip, 3, 0, 1_000),
    (Fault::ZooKeeperServer, 3, 500, 6_000),
    (Fault::ZooKeeperGone, 1, 1_000, 10_000),
    (Fault::ZooKeeperLost, 1, 0, 0),
];

/// The longest pause between the beginnings of two faults.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pause after the beginning of the one before.
    pub after: Duration,
    /// What.
    pub fault: Fault,
    /// When it is healed, after its beginning.
    pub lasts: Duration,
    /// Draws on whom, and whatever else there is to choose when it begins.
    pub seed: u64,
}

impl Fault {
    /// All.
    pub fn all() -> impl Iterator<Item = Self> {
        FAULTS.iter().map(|(fault, ..)| *fault)
    }

    /// As it is written in reports and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Pause => "pause",
            Self::Boot => "boot",
            Self::WallClock => "wall-clock",
            Self::ZooKeeperCut => "zookeeper-cut",
            Self::ZooKeeperSlow => "zookeeper-slow",
            Self::Unreachable => "unreachable",
            Self::LinkCut => "link-cut",
            Self::PairCut => "pair-cut",
            Self::LinkSlow => "link-slow",
            Self::Losses => "losses",
            Self::DiskFull => "disk-full",
            Self::Wipe => "wipe",
            Self::Flip => "flip",
            Self::ZooKeeperServer => "zookeeper-server",
            Self::ZooKeeperGone => "zookeeper-gone",
            Self::ZooKeeperLost => "zookeeper-lost",
        }
    }

    /// Whether it may destroy data, so that it begins only in a cluster that has all its copies.
    #[must_use]
    pub const fn is_destructive(self) -> bool {
        matches!(self, Self::Wipe | Self::Flip | Self::ZooKeeperLost)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names: Vec<_> = Self::all().map(Self::name).collect();
        Self::all()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| format!("{name}: give one of {}", names.join(", ")))
    }
}

/// The faults of a round: those of `only`, or all if there are none; they begin within `length`.
#[must_use]
pub fn draw(seed: u64, length: Duration, only: &[Fault]) -> Vec<Step> {
    // Apart from what draws the settings.
    let mut random = SmallRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15);
    let among: Vec<_> = FAULTS.iter().filter(|(fault, ..)| only.is_empty() || only.contains(fault)).collect();
    let total: u32 = among.iter().map(|(_, weight, ..)| weight).sum();
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        // Often several in short order, sometimes nothing for a while.
        let share: f64 = random.random();
        let after = LONGEST_PAUSE.mul_f64(share * share);
        at += after;
        if at > length {
            return steps;
        }
        let mut drawn = random.random_range(0..total.max(1));
        let chosen = among.iter().find(|(_, weight, ..)| match drawn.checked_sub(*weight) {
            None => true,
            Some(rest) => {
                drawn = rest;
                false
            }
        });
        let Some((fault, _, shortest, longest)) = chosen else { return steps };
        let lasts = Duration::from_millis(random.random_range(*shortest..=*longest));
        steps.push(Step { after, fault: *fault, lasts, seed: random.random() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_has_one_plan_and_all_faults_are_drawn_by_some() {
        assert_eq!(draw(4711, MINUTE, &[]), draw(4711, MINUTE, &[]));
        assert_ne!(draw(4711, MINUTE, &[]), draw(4712, MINUTE, &[]));
        let drawn: Vec<_> = (0..100).flat_map(|seed| draw(seed, MINUTE, &[])).collect();
        for fault in Fault::all() {
            assert!(drawn.iter().any(|step| step.fault == fault), "{fault}");
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!(drawn.iter().all(|step| step.lasts <= Duration::from_secs(10)), "each is healed");
    }

    #[test]
    fn faults_overlap_and_begin_within_the_length() {
        let mut overlaps = 0;
        for seed in 0..20 {
            let steps = draw(seed, MINUTE, &[]);
            assert!(steps.len() > 15, "{} in a minute", steps.len());
            assert!(steps.iter().map(|step| step.after).sum::<Duration>() <= MINUTE);
            overlaps += steps.windows(2).filter(|pair| pair[0].lasts > pair[1].after).count();
        }
        assert!(overlaps > 100, "{overlaps}");
    }

    #[test]
    fn a_plan_may_be_of_some_faults_only() {
        let steps = draw(1, MINUTE, &[Fault::Kill, Fault::Wipe]);
        assert!(steps.iter().any(|step| step.fault == Fault::Wipe));
        assert!(steps.iter().all(|step| matches!(step.fault, Fault::Kill | Fault::Wipe)));
        assert!("kil".parse::<Fault>().is_err());
    }
}
