//! The last holds that ended, for a person who asks what went on.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, SystemTime},
};

use smallvec::SmallVec;
use smol_str::SmolStr;

use super::ReleaseCause;
use crate::{
    core::{
        client_info::Origin,
        lock::{Mode, SessionId, Token},
        sync::{Rank, plain::Guarded},
    },
    name::{Hashed, Name},
};

/// So many of one name: a lock in much use does not wash the others out.
const OF_A_NAME: usize = 5;

/// So many of all names.
const OF_ALL: usize = 20_000;

/// A hold that its owner released within so little time is not kept. There may be very many of them,
/// and nobody asks what they were.
/// Shuttle has no clock: there everything is brief, else a schedule would hang on the machine's load.
const BRIEF: Duration = if cfg!(feature = "shuttle") { Duration::MAX } else { Duration::from_millis(10) };

/// A hold that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastHold {
    /// The lock.
    pub name: Name,
    /// Whose hold it was. Numbers of sessions come again after a long time.
    pub session: SessionId,
    /// From where it came.
    pub origin: Origin,
    /// What was said of it.
    pub texts: HolderTexts,
    /// How it was held at last.
    pub mode: Mode,
    /// The fencing token of the grant.
    pub token: Token,
    /// When it was granted, by the clock on the wall.
    pub started: SystemTime,
    /// For how long it was held.
    pub held: Duration,
    /// Why it ended.
    pub cause: ReleaseCause,
}

/// What was said of a session that held a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolderTexts {
    /// What it called itself.
    pub client: Option<SmolStr>,
    /// Whom it had logged in as.
    pub user: Option<SmolStr>,
    /// Its note.
    pub note: Option<SmolStr>,
    /// Why it was killed, if a reason was given.
    pub reason: Option<SmolStr>,
}

/// The last holds that ended: 5 of each name, 20,000 in all.
#[derive(Debug)]
pub struct HoldHistory(Guarded<Entries>);

impl Default for HoldHistory {
    fn default() -> Self {
        Self(Guarded::new(Rank::History, Entries::default()))
    }
}

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    /// In the order in which they ended.
    pasts: BTreeMap<u64, PastHold>,
    of_name: HashMap<Name, SmallVec<[u64; OF_A_NAME]>, Hashed>,
}

impl HoldHistory {
    /// Whether such a hold is kept.
    pub fn keeps(cause: ReleaseCause, held: Duration) -> bool {
        cause != ReleaseCause::Release || held >= BRIEF
    }

    /// Keeps a hold that has ended, and forgets another if there are too many.
    pub fn add(&self, past: PastHold) {
        self.0.lock().add(past);
    }

    /// The last `limit` holds, of one name or of all, of those whose names are wanted; the one that ended
    /// last comes first.
    pub fn last(&self, name: Option<&Name>, limit: usize, wanted: impl Fn(&Name) -> bool) -> Vec<PastHold> {
        let kept = self.0.lock();
        let all = name.is_none().then(|| kept.pasts.values().rev());
        let of_name = name.and_then(|name| kept.of_name.get(name));
        let of_name = of_name.into_iter().flatten().rev().filter_map(|at| kept.pasts.get(at));
        let pasts = all.into_iter().flatten().chain(of_name);
        pasts.filter(|past| wanted(&past.name)).take(limit).cloned().collect()
    }
}

impl Entries {
    fn add(&mut self, past: PastHold) {
        self.last += 1;
        let of_name = self.of_name.entry(past.name.clone()).or_default();
        if of_name.len() == OF_A_NAME {
            self.pasts.remove(&of_name.remove(0));
        }
        of_name.push(self.last);
        self.pasts.insert(self.last, past);
        if self.pasts.len() > OF_ALL {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, past)) = self.pasts.pop_first() else { return };
        let Some(of_name) = self.of_name.get_mut(&past.name) else { return };
        of_name.remove(0);
        if of_name.is_empty() {
            self.of_name.remove(&past.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client_info::Wire;

    fn past(name: &str, token: Token) -> PastHold {
        PastHold {
            name: Name::new(name).unwrap(),
            session: SessionId(1),
            origin: Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() },
            texts: HolderTexts::default(),
            mode: Mode::Exclusive,
            token,
            started: SystemTime::UNIX_EPOCH,
            held: BRIEF,
            cause: ReleaseCause::Release,
        }
    }

    fn tokens(history: &HoldHistory, name: Option<&str>, limit: usize) -> Vec<Token> {
        let name = name.map(|name| Name::new(name).unwrap());
        history.last(name.as_ref(), limit, |_| true).iter().map(|past| past.token).collect()
    }

    #[test]
    fn last_holds_of_each_name_are_kept_newest_first() {
        let history = HoldHistory::default();
        history.add(past("rare", 1));
        (2..10).for_each(|token| history.add(past("busy", token)));
        assert_eq!(tokens(&history, None, 100), [9, 8, 7, 6, 5, 1]);
        assert_eq!(tokens(&history, Some("busy"), 2), [9, 8]);
        assert_eq!(tokens(&history, Some("RARE"), 2), [1]);
        assert!(tokens(&history, Some("never"), 2).is_empty());
    }

    #[test]
    fn history_is_bounded() {
        let history = HoldHistory::default();
        let more = OF_ALL as u64 + 10;
        (0..more).for_each(|token| history.add(past(&format!("n{token}"), token)));
        assert_eq!(tokens(&history, None, usize::MAX).len(), OF_ALL);
        assert_eq!((tokens(&history, Some("n9"), 1), tokens(&history, Some("n10"), 1)), (vec![], vec![10]));
        assert_eq!(history.0.lock().of_name.len(), OF_ALL);
    }

    #[test]
    fn brief_hold_is_kept_if_it_ended_abnormally() {
        assert!(
            !HoldHistory::keeps(ReleaseCause::Release, BRIEF / 2)
                && HoldHistory::keeps(ReleaseCause::Release, BRIEF)
        );
        assert!(HoldHistory::keeps(ReleaseCause::Disconnect, Duration::ZERO));
    }
}
