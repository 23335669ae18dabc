use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// When requests are due in an open loop: the n-th at `start + n / rate`, whether or not earlier ones were answered.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    rate: u64,
    /// How many are due in all.
    requests: u64,
}

impl Schedule {
    pub fn new(start: Instant, rate: u64, requests: u64) -> Self {
        Self { start, rate, requests }
    }

    pub fn requests(&self) -> u64 {
        self.requests
    }

    pub fn due(&self, request: u64) -> Instant {
        let (seconds, rest) = (request / self.rate, request % self.rate);
        let nanos = u128::from(rest) * 1_000_000_000 / u128::from(self.rate);
        self.start + Duration::from_secs(seconds) + Duration::from_nanos(nanos as u64)
    }

    /// How many are due by `now`.
    pub fn due_by(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let due = passed * u128::from(self.rate) / 1_000_000_000 + 1;
        u64::try_from(due).unwrap_or(u64::MAX).min(self.requests)
    }
}

/// Gives one permit for each request when it is due. A thread of its own: the runtime's timer counts in milliseconds.
/// Ends with the schedule, or when the semaphore is closed.
pub fn pace(schedule: Schedule, permits: Arc<Semaphore>) -> std::io::Result<()> {
    let thread = thread::Builder::new().name("pace".into());
    thread.spawn(move || {
        let mut given = 0;
        while given < schedule.requests && !permits.is_closed() {
            let due = schedule.due_by(Instant::now());
            if due > given {
                // Bounded by the semaphore's own limit, which is far beyond the requests of any schedule.
                let more = usize::try_from(due - given).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS >> 1);
                permits.add_permits(more);
                given += more as u64;
            }
            if given < schedule.requests {
                thread::sleep(schedule.due(given).saturating_duration_since(Instant::now()));
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 3, 7);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(3), start + Duration::from_secs(1));
        assert_eq!(schedule.due_by(start), 1);
        assert_eq!(schedule.due_by(start + Duration::from_millis(999)), 3);
        assert_eq!(schedule.due_by(start + Duration::from_secs(60)), 7);
    }

    #[tokio::test]
    async fn every_request_gets_its_permit_when_due() {
        let permits = Arc::new(Semaphore::new(0));
        let schedule = Schedule::new(Instant::now(), 1000, 50);
        pace(schedule, permits.clone()).expect("a thread");
        for request in 0..50 {
            permits.acquire().await.expect("open").forget();
            assert!(Instant::now() >= schedule.due(request), "request {request} was early");
        }
    }
}
