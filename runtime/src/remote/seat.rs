//! Places for those who are connected. Who has said nothing yet gives his up to the next one, if all are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Connections at once.
const SEATS: usize = 32;

/// How many may be on their way out besides.
const LEAVING: usize = 32;

/// The place of one who is connected. It is free when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Seat {
    has_spoken: AtomicBool,
    is_leaving: AtomicBool,
    leave: Notify,
}

impl Seat {
    /// A request has come.
    pub(super) fn speaks(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::Relaxed)
    }

    /// Somebody else needs the place.
    pub(super) fn gives_way(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.leave.notify_one();
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

/// All places that are taken, those first that were taken first.
#[derive(Debug, Default)]
pub(super) struct Seats(Vec<std::sync::Weak<Seat>>);

impl Seats {
    /// A place, if there is one: a free one, or that of somebody who has said nothing so far.
    pub(super) fn take(&mut self) -> Option<Arc<Seat>> {
        self.0.retain(|seat| seat.strong_count() > 0);
        let taken: Vec<Arc<Seat>> = self.0.iter().filter_map(std::sync::Weak::upgrade).collect();
        let is_leaving = |seat: &&Arc<Seat>| seat.is_leaving.load(Ordering::Relaxed);
        let leaving = taken.iter().filter(is_leaving).count();
        if taken.len() - leaving >= SEATS {
            let is_silent = |seat: &&Arc<Seat>| !seat.has_spoken() && !is_leaving(seat);
            let silent = taken.iter().find(is_silent).filter(|_| leaving < LEAVING)?;
            silent.gives_way();
        }
        let seat = Arc::new(Seat::default());
        self.0.push(Arc::downgrade(&seat));
        Some(seat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_said_nothing_gives_way_first_come_first_gone_and_who_has_spoken_stays() {
        let mut seats = Seats::default();
        let mut taken: Vec<Arc<Seat>> = (0..SEATS).filter_map(|_| seats.take()).collect();
        assert_eq!(taken.len(), SEATS);
        taken[0].speaks();
        let next = seats.take().unwrap();
        let leaving = |seats: &[Arc<Seat>]| {
            let leaving =
                seats.iter().enumerate().filter(|(_, seat)| seat.is_leaving.load(Ordering::Relaxed));
            leaving.map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(leaving(&taken), [1]);
        next.speaks();
        for seat in &taken {
            seat.speaks();
        }
        assert!(seats.take().is_none(), "all have something to say");
        taken.pop();
        assert!(seats.take().is_some(), "one has gone");
    }

    #[test]
    fn those_who_do_not_leave_are_not_more_than_a_few() {
        let mut seats = Seats::default();
        let taken: Vec<Arc<Seat>> = (0..1_000).filter_map(|_| seats.take()).collect();
        assert_eq!(taken.len(), SEATS + LEAVING);
    }
}
