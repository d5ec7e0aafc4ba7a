//! The session that blocks the most others, directly or through other locks.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use getlockd_client::{LockRow, SessionRow, visible};

/// `session 7 (ana@web-3[4711] backup.sh) blocks 23 sessions`; none if no session waits.
pub(super) fn head_blocker(locks: &[LockRow], sessions: &HashMap<u32, SessionRow>) -> Option<String> {
    let waits = Waits::new(locks, sessions);
    let contended = locks.iter().filter(|lock| lock.waiters > 0).map(|lock| lock.session);
    // A session that waits is itself blocked by another.
    let ends: HashSet<_> = contended.filter(|id| !waits.is_waiting(*id)).collect();
    let blocked = ends.into_iter().map(|id| (waits.blocked_by(id), id));
    let (blocked, id) = blocked.max_by_key(|&(blocked, id)| (blocked, Reverse(id)))?;
    let lock = locks.iter().find(|lock| lock.session == id)?;
    let who = lock.client.as_ref().or(lock.user.as_ref()).or(lock.peer.as_ref());
    let who = who.map_or_else(String::new, |who| format!(" ({})", visible(who)));
    let plural = if blocked == 1 { "" } else { "s" };
    (blocked > 0).then(|| format!("session {id}{who} blocks {blocked} session{plural}"))
}

/// Who holds what, and who waits for what.
struct Waits<'a> {
    held: HashMap<u32, Vec<&'a str>>,
    waiting: HashMap<&'a str, Vec<u32>>,
    sessions: &'a HashMap<u32, SessionRow>,
}

impl<'a> Waits<'a> {
    fn new(locks: &'a [LockRow], sessions: &'a HashMap<u32, SessionRow>) -> Self {
        let mut held = HashMap::<_, Vec<_>>::new();
        for lock in locks {
            held.entry(lock.session).or_default().push(lock.name.as_str());
        }
        let mut waiting = HashMap::<_, Vec<_>>::new();
        for row in sessions.values() {
            if let Some(lock) = row.waits_for.as_deref() {
                waiting.entry(lock).or_default().push(row.session);
            }
        }
        Self { held, waiting, sessions }
    }

    fn is_waiting(&self, session: u32) -> bool {
        self.sessions.get(&session).is_some_and(|row| row.waits_for.is_some())
    }

    /// How many sessions wait for its locks, for the locks of those, and so on.
    fn blocked_by(&self, session: u32) -> usize {
        let mut seen = HashSet::from([session]);
        let mut open = vec![session];
        while let Some(holder) = open.pop() {
            let held = self.held.get(&holder).into_iter().flatten();
            let waiting = held.filter_map(|lock| self.waiting.get(lock)).flatten();
            open.extend(waiting.filter(|&&waiter| seen.insert(waiter)));
        }
        seen.len() - 1
    }
}
