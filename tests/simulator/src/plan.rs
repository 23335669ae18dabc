use std::time::Duration;

use kv_replication::core::Settings;

use crate::{rng::Rng, steer::Steer};

/// Microseconds of simulated time.
pub(crate) type Micros = u64;

/// L: shorter than in production, so that more happens in a seed.
pub(crate) const LEASE: Micros = 200_000;
/// T, the session timeout: 3 L, where production has 7.5 L.
pub(crate) const SESSION_TIMEOUT: Micros = 3 * LEASE;
/// How long the shard may take to recover after all faults have ended.
pub(crate) const RECOVER_WITHIN: Micros = 40 * LEASE;

/// Shorter than in production, where it is several session timeouts.
const SNAPSHOT_PATIENCE: Micros = 250_000;
/// How many seeds are steered towards a rare state.
const STEERED_PERMILLE: u64 = 400;

/// What kind of run a seed is. Faults are drawn so that each seed has some kinds often and others never.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) copies: usize,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    /// When the faults end.
    pub(crate) chaos: Micros,
    pub(crate) fault_every: Micros,
    /// One weight for each kind of fault.
    pub(crate) faults: [u64; crate::faults::KINDS.len()],
    pub(crate) lost_permille: u64,
    pub(crate) doubled_permille: u64,
    pub(crate) slow_permille: u64,
    pub(crate) slow_at_most: Micros,
    pub(crate) sync_at_most: Micros,
    pub(crate) stall_permille: u64,
    pub(crate) late_change_permille: u64,
    pub(crate) lost_answer_permille: u64,
    pub(crate) wrong_hint_permille: u64,
    pub(crate) think_at_most: Micros,
    pub(crate) trims: bool,
    /// The shard may be force-promoted; then writes may be lost, and the history is not judged.
    pub(crate) forces: bool,
    pub(crate) splits: bool,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_unacknowledged_bytes: usize,
    pub(crate) kept_tail_bytes: usize,
    pub(crate) min_in_sync: usize,
    /// How long a copy waits for a snapshot; one that comes later finds nobody.
    pub(crate) snapshot_patience: Micros,
    /// Of starts that are starts of the machine too.
    pub(crate) reboot_permille: u64,
    pub(crate) steer: Option<Steer>,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let copies = 2 + rng.index(2);
        let mut faults = [0; crate::faults::KINDS.len()];
        for weight in &mut faults {
            *weight = [0, 0, 1, 1, 4][rng.index(5)];
        }
        let calm = rng.chance(300);
        let mut plan = Self {
            nodes: copies + rng.index(2),
            copies,
            clients: 2 + rng.index(3),
            keys: 1 + rng.index(3),
            chaos: rng.between(1_000_000, 2_200_000),
            fault_every: rng.between(30_000, 300_000),
            faults,
            lost_permille: if calm { 0 } else { rng.skewed(0, 200) },
            doubled_permille: rng.skewed(0, 150),
            slow_permille: if calm { 0 } else { rng.skewed(0, 150) },
            slow_at_most: rng.between(10_000, 800_000),
            sync_at_most: rng.skewed(200, 40_000),
            stall_permille: rng.skewed(0, 60),
            late_change_permille: rng.skewed(0, 400),
            lost_answer_permille: rng.skewed(0, 400),
            wrong_hint_permille: rng.skewed(0, 200),
            think_at_most: rng.between(2_000, 60_000),
            trims: rng.chance(600),
            forces: rng.chance(60),
            splits: rng.chance(150),
            max_message_bytes: [1, 200, 1 << 20][rng.index(3)],
            max_unacknowledged_bytes: [300, 8 << 20][rng.index(2)],
            kept_tail_bytes: [0, 400, 1 << 20][rng.index(3)],
            min_in_sync: 1 + usize::from(rng.chance(60)),
            reboot_permille: rng.skewed(0, 1000),
            snapshot_patience: SNAPSHOT_PATIENCE,
            steer: None,
        };
        if rng.chance(STEERED_PERMILLE) {
            plan.steer_to(Steer::draw(rng), rng);
        }
        plan
    }

    /// Nothing is lost, late or wrong any more.
    pub(crate) fn calm_down(&mut self) {
        self.lost_permille = 0;
        self.doubled_permille = 0;
        self.slow_permille = 0;
        self.stall_permille = 0;
        self.late_change_permille = 0;
        self.lost_answer_permille = 0;
        self.wrong_hint_permille = 0;
        self.sync_at_most = 5_000;
        self.snapshot_patience = SNAPSHOT_PATIENCE;
        // One entry at a time, sent anew whenever two are exchanged, a copy catches up with no more than this.
        self.think_at_most = self.think_at_most.max(150_000);
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(Duration::from_micros(LEASE));
        settings.max_message_bytes = self.max_message_bytes;
        settings.max_unacknowledged_bytes = self.max_unacknowledged_bytes;
        settings.kept_tail_bytes = self.kept_tail_bytes;
        settings.min_in_sync = self.min_in_sync;
        settings
    }
}
