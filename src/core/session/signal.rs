//! How a session is told to end: one word and one waker, no list to join at every wait.

use std::task::{Context, Poll};

use crate::core::{
    command::EndReason,
    lock::SessionId,
    sync::{AtomicU64, AtomicWaker, Ordering, mutant},
};

/// What a session has been told. Later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing.
    GoOn,
    /// End when nothing is held any more.
    Drain,
    /// End now.
    End(EndReason),
}

const GO_ON: u64 = 0;
const DRAIN: u64 = 1;
const SHUTDOWN: u64 = 2;
const REVOKED: u64 = 3;
/// With the killer's number in the lower half.
const KILLED: u64 = 1 << 32;

/// Set by anyone, awaited by the one task that runs the session.
#[derive(Debug, Default)]
pub(super) struct Signal {
    notice: AtomicU64,
    waker: AtomicWaker,
}

impl Signal {
    pub(super) fn drain(&self) {
        self.raise(DRAIN);
    }

    pub(super) fn end(&self, ending: EndReason) {
        self.raise(match ending {
            EndReason::Shutdown => SHUTDOWN,
            EndReason::Revoked => REVOKED,
            EndReason::Killed(by) => KILLED | u64::from(by.0),
        });
    }

    pub(super) fn notice(&self) -> Notice {
        match self.notice.load(Ordering::Acquire) {
            GO_ON => Notice::GoOn,
            DRAIN => Notice::Drain,
            SHUTDOWN => Notice::End(EndReason::Shutdown),
            REVOKED => Notice::End(EndReason::Revoked),
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the killer's number")]
            killed => Notice::End(EndReason::Killed(SessionId(killed as u32))),
        }
    }

    /// Ready when `wanted` finds what it looks for; else wakes this task at the next notice.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, wanted: impl Fn() -> Option<T>) -> Poll<T> {
        mutant!(LateWaker => let told = wanted(); self.waker.register(cx.waker());
            return told.map_or(Poll::Pending, Poll::Ready));
        self.waker.register(cx.waker());
        wanted().map_or(Poll::Pending, Poll::Ready)
    }

    fn raise(&self, notice: u64) {
        self.notice.fetch_max(notice, Ordering::AcqRel);
        self.waker.wake();
    }
}
