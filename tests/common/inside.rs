//! Who is inside of which lock: a caller that is granted one checks that no other is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use getlockd::internal::lock::{Mode, Token};

const LOCKS: usize = 10;

/// Of each lock the number of holders of shares or permits, or -1 for an exclusive one.
#[derive(Default)]
pub struct Inside([Lock; LOCKS], AtomicU64);

#[derive(Default)]
struct Lock {
    who: AtomicI64,
    highest: AtomicU64,
    highest_exclusive: AtomicU64,
}

impl Inside {
    pub fn enter(&self, lock: usize, mode: Mode, token: Token) {
        let Lock { who, highest, highest_exclusive } = &self.0[lock];
        let others = match mode {
            Mode::Exclusive => who.swap(-1, Ordering::SeqCst),
            Mode::Shared | Mode::Permit(_) => who.fetch_add(1, Ordering::SeqCst),
        };
        let room = match mode {
            Mode::Exclusive => 1,
            Mode::Shared => i64::MAX,
            Mode::Permit(limit) => limit.into(),
        };
        assert!((0..room).contains(&others), "somebody else is inside");
        let before = match mode {
            Mode::Exclusive => highest.load(Ordering::SeqCst),
            Mode::Shared | Mode::Permit(_) => highest_exclusive.load(Ordering::SeqCst),
        };
        assert!(before < token, "somebody else with a higher token was inside");
        highest.fetch_max(token, Ordering::SeqCst);
        if mode == Mode::Exclusive {
            highest_exclusive.store(token, Ordering::SeqCst);
        }
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self, lock: usize, mode: Mode) {
        let who = &self.0[lock].who;
        match mode {
            Mode::Exclusive => assert_eq!(who.swap(0, Ordering::SeqCst), -1),
            Mode::Shared | Mode::Permit(_) => assert!(who.fetch_sub(1, Ordering::SeqCst) > 0),
        }
    }

    /// How often somebody went in.
    pub fn entered(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}
