//! The guard of a term: what may still be told to clients, and until when.
//!
//! A [`Term`] is one leadership from its start to its end. Each socket of a leader, and each of a relay, holds the term
//! under which it was accepted, and looks at it right before each write. Once shut, a term stays shut: a new leadership of
//! the same server is a new object.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::moment::Moment;

/// The term is over: nothing may be told to anyone under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this server does not lead any more")]
pub struct Over;

/// One leadership, as its sockets see it.
#[derive(Debug)]
pub struct Term {
    number: u64,
    /// When it ends by the boot clock, in nanoseconds; 0 once it is shut.
    boot: AtomicU64,
    /// The same by the raw clock. It is looked at by those who have time: see [`Term::tick`].
    raw: AtomicU64,
    held: Mutex<Held>,
    /// Not zero while writes are held: a look need not take the lock.
    is_held: AtomicU64,
    /// Cancelled when sockets are to close, before the end or at it.
    closing: CancellationToken,
    refused: Arc<AtomicU64>,
}

/// Writes that wait.
#[derive(Debug, Default)]
struct Held(Vec<Waker>);

impl Term {
    /// A term that nothing may be told under yet: it ends at `deadline`, and is held.
    pub fn held(number: u64, deadline: Moment) -> Self {
        let term = Self {
            number,
            boot: AtomicU64::new(0),
            raw: AtomicU64::new(0),
            held: Mutex::default(),
            is_held: AtomicU64::new(1),
            closing: CancellationToken::new(),
            refused: Arc::default(),
        };
        term.boot.store(nanos(deadline.boot), Ordering::Release);
        term.raw.store(nanos(deadline.raw), Ordering::Release);
        term
    }

    /// Counts the writes that it refuses here, beside those of other terms: they are refused up to the end of the last
    /// socket, when nobody asks the term any more.
    #[must_use]
    pub fn counting(self, refused: Arc<AtomicU64>) -> Self {
        Self { refused, ..self }
    }

    /// Its number: the revision of the seat. A later term has a higher one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It ends later. Nothing if it is shut.
    pub fn extend(&self, deadline: Moment) {
        // One thread extends and shuts it, or a relay does under its own lock; zero stays zero all the same.
        let later = |clock: &AtomicU64, until: Duration| {
            let _ = clock.fetch_update(Ordering::AcqRel, Ordering::Acquire, |was| {
                (was > 0).then(|| was.max(nanos(until)))
            });
        };
        later(&self.raw, deadline.raw);
        later(&self.boot, deadline.boot);
    }

    /// Nothing is told under it any more, whatever comes.
    pub fn shut(&self) {
        self.boot.store(0, Ordering::Release);
        self.raw.store(0, Ordering::Release);
        self.closing.cancel();
        self.release();
    }

    /// Writes wait until [`Term::release`].
    pub fn hold(&self) {
        self.is_held.store(1, Ordering::Release);
    }

    /// Writes go on.
    pub fn release(&self) {
        let waiting = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            self.is_held.store(0, Ordering::Release);
            std::mem::take(&mut held.0)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Sockets close from now on, those of holders first. What is in time is still told.
    pub fn close_sockets(&self) {
        self.closing.cancel();
    }

    /// Cancelled when sockets are to close.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// To be called right before each write: whether it may be made. It is one look at one clock.
    ///
    /// # Errors
    /// [`Over`]: the write must not be made, and what was to be written must be dropped.
    pub fn poll_write(&self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if self.is_held.load(Ordering::Acquire) != 0 && self.poll_held(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.look())
    }

    #[cold]
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_held.load(Ordering::Acquire) == 0 || self.is_shut() {
            return Poll::Ready(());
        }
        if !held.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            held.0.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether something may be told right now, for a write that cannot wait.
    ///
    /// # Errors
    /// [`Over`]: nothing may be told; or writes are held, and this one cannot wait.
    pub fn check(&self) -> Result<(), Over> {
        if self.is_held.load(Ordering::Acquire) != 0 { Err(Over) } else { self.look() }
    }

    fn look(&self) -> Result<(), Over> {
        if nanos(boot_now()) < self.boot.load(Ordering::Acquire) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Over)
    }

    /// To be called each few milliseconds: shuts the term when the raw clock has reached its end, which no write looks at.
    pub fn tick(&self, now: Moment) {
        if !self.is_shut() && self.left(now).is_zero() {
            self.shut();
        }
    }

    /// How long it runs without another beat; zero if it is over.
    pub fn left(&self, now: Moment) -> Duration {
        self.deadline().left(now)
    }

    /// When it ends; at zero if it is shut.
    pub fn deadline(&self) -> Moment {
        let read = |clock: &AtomicU64| Duration::from_nanos(clock.load(Ordering::Acquire));
        Moment { boot: read(&self.boot), raw: read(&self.raw) }
    }

    /// Whether it was shut.
    pub fn is_shut(&self) -> bool {
        self.boot.load(Ordering::Acquire) == 0
    }

    /// How many writes were refused as it was over, with those of the terms that are counted with it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The boot clock alone, as one write looks at no more.
#[cfg(target_os = "linux")]
fn boot_now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
fn boot_now() -> Duration {
    Moment::now().boot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(time: Duration) -> Term {
        let term = Term::held(7, Moment::now().after(time));
        term.release();
        term
    }

    #[test]
    fn write_after_the_deadline_is_refused_and_counted() {
        let term = term(Duration::ZERO);
        assert_eq!((term.check(), term.refused()), (Err(Over), 1));
        term.extend(Moment::now().after(Duration::from_mins(1)));
        assert_eq!(term.check(), Ok(()), "a beat that was late was acknowledged all the same");
    }

    #[test]
    fn shut_term_stays_shut() {
        let term = term(Duration::from_mins(1));
        assert_eq!(term.check(), Ok(()));
        term.shut();
        term.extend(Moment::now().after(Duration::from_mins(1)));
        assert_eq!(term.check(), Err(Over));
        assert!(term.closing().is_cancelled());
        assert_eq!(term.left(Moment::now()), Duration::ZERO);
    }

    #[test]
    fn either_clock_ends_it() {
        let now = Moment::now();
        let raw_is_over = Moment { boot: now.boot + Duration::from_mins(1), raw: now.raw };
        let term = Term::held(1, raw_is_over);
        term.release();
        assert_eq!(term.check(), Ok(()), "a write looks at one clock");
        term.tick(Moment::now());
        assert_eq!(term.check(), Err(Over));
    }

    #[test]
    fn held_write_waits_and_goes_on() {
        let term = term(Duration::from_mins(1));
        term.hold();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(term.poll_write(&mut cx).is_pending());
        assert_eq!(term.check(), Err(Over));
        term.release();
        assert_eq!(term.poll_write(&mut cx), Poll::Ready(Ok(())));
        term.hold();
        assert!(term.poll_write(&mut cx).is_pending());
        term.shut();
        assert_eq!(term.poll_write(&mut cx), Poll::Ready(Err(Over)));
    }
}
