use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// A session of a shard: what makes a write that is sent twice be applied once.
///
/// A shard keeps the last 1,024 results of a session, so a client that ran further ahead of its lowest unanswered request
/// could not repeat that one: [`Session::WINDOW`] keeps it from doing so.
#[derive(Debug)]
pub(crate) struct Session {
    id: Bytes,
    numbers: Mutex<Numbers>,
    room: Notify,
}

/// The number of one request in its session, unanswered until it is dropped. A number is never used for another request.
#[derive(Debug)]
pub(crate) struct Number {
    session: Arc<Session>,
    number: u64,
}

/// Which numbers are still unanswered.
#[derive(Debug)]
struct Numbers {
    lowest_unanswered: u64,
    /// From the lowest unanswered one on: whether it was answered.
    answered: VecDeque<bool>,
}

impl Session {
    /// How far ahead of the lowest unanswered number the next one may be.
    pub const WINDOW: usize = 1000;

    pub fn new(id: Bytes) -> Arc<Self> {
        let numbers = Mutex::new(Numbers { lowest_unanswered: 1, answered: VecDeque::new() });
        Arc::new(Self { id, numbers, room: Notify::new() })
    }

    /// The next number, as soon as the window has room for it. Bounded by the caller's deadline.
    pub async fn next_number(self: &Arc<Self>) -> Number {
        loop {
            if let Some(number) = self.take_number() {
                return number;
            }
            let mut released = pin!(self.room.notified());
            // A release between the failed try and the wait must not be missed.
            released.as_mut().enable();
            if let Some(number) = self.take_number() {
                return number;
            }
            released.await;
        }
    }

    /// The next number, if the window has room for it.
    pub fn take_number(self: &Arc<Self>) -> Option<Number> {
        let mut numbers = self.numbers();
        if numbers.answered.len() >= Self::WINDOW {
            return None;
        }
        let number = numbers.lowest_unanswered + numbers.answered.len() as u64;
        numbers.answered.push_back(false);
        drop(numbers);
        Some(Number { session: self.clone(), number })
    }

    fn release(&self, number: u64) {
        let mut numbers = self.numbers();
        let at = (number - numbers.lowest_unanswered) as usize;
        if let Some(answered) = numbers.answered.get_mut(at) {
            *answered = true;
        }
        let was_full = numbers.answered.len() >= Self::WINDOW;
        while numbers.answered.front() == Some(&true) {
            numbers.answered.pop_front();
            numbers.lowest_unanswered += 1;
        }
        drop(numbers);
        if was_full {
            self.room.notify_waiters();
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Number {
    pub fn get(&self) -> u64 {
        self.number
    }

    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub fn session_id(&self) -> Bytes {
        self.session.id.clone()
    }

    /// The lowest number that is still waited for, at most this one.
    pub fn lowest_unanswered(&self) -> u64 {
        self.session.numbers().lowest_unanswered
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.session.release(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unanswered_waits_for_the_slowest() {
        let session = Session::new("s".into());
        let take = || session.take_number().expect("room");
        let (first, second, third) = (take(), take(), take());
        assert_eq!([first.get(), second.get(), third.get()], [1, 2, 3]);
        drop(second);
        assert_eq!(third.lowest_unanswered(), 1);
        drop(first);
        assert_eq!(third.lowest_unanswered(), 3);
        drop(third);
        let next = take();
        assert_eq!((next.get(), next.lowest_unanswered()), (4, 4));
    }

    #[test]
    fn nobody_runs_further_ahead_than_the_window() {
        let session = Session::new("s".into());
        let slowest = session.take_number().expect("room");
        for _ in 1..Session::WINDOW {
            drop(session.take_number().expect("room"));
        }
        assert!(session.take_number().is_none());
        drop(slowest);
        let next = session.take_number().expect("room again");
        assert_eq!(next.lowest_unanswered(), next.get());
    }

    #[tokio::test]
    async fn a_full_window_lets_the_next_one_in_when_it_moves() {
        let session = Session::new("s".into());
        let held: Vec<_> = (0..Session::WINDOW).map(|_| session.take_number().expect("room")).collect();
        let waiting = tokio::spawn({
            let session = session.clone();
            async move { session.next_number().await.get() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.await.expect("not cancelled"), Session::WINDOW as u64 + 1);
    }
}
