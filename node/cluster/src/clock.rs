use std::time::Duration;

/// A clock that only its differences matter of. Injected, so that tests and simulations bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Time since a fixed moment.
    fn now(&self) -> Duration;
}

/// Time since the machine started, time in suspend included: timers of the protocol never run on wall-clock time.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoottimeClock;

impl Clock for BoottimeClock {
    fn now(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanos)
    }
}
