//! What a session is told without asking each time: events of the locks that it watches, and waits for what it holds.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use super::{Handle, Session};
use crate::{
    core::{
        budget::{Budget, Charge},
        command::{Answer, Error},
        events::{Events, Listener, LockEvent, NextEvent, Notified, WaitEvent, Watcher},
        users::User,
    },
    name::Name,
};

/// The most prefixes that one session watches.
pub const MAX_WATCHES: usize = 16;

/// What a watched prefix is charged for.
const WATCH_BYTES: usize = 512;

/// What a session is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// A hold has begun or ended.
    Lock(Arc<LockEvent>),
    /// A session waits for a lock that this one holds.
    Waiting(Arc<WaitEvent>),
    /// It was too slow, and has missed so many; none if nobody knows how many.
    Missed(Option<u64>),
}

/// What a session has asked to be told.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    listener: Option<Arc<Listener>>,
    watched: VecDeque<WatchedPrefix>,
    /// Events that it had not been told when it began to watch more than their prefix.
    missed: u64,
    charge: Charge,
}

#[derive(Debug)]
struct WatchedPrefix {
    /// None of them begins with another.
    prefix: Option<Name>,
    watcher: Watcher,
}

/// Whether one prefix begins with another. None is the empty one.
fn is_within(prefix: Option<&Name>, other: Option<&Name>) -> bool {
    text(prefix).starts_with(text(other))
}

fn text(prefix: Option<&Name>) -> &str {
    prefix.map_or("", Name::as_str)
}

impl Inbox {
    fn listen(&mut self, is_on: bool, events: &Arc<Events>, handle: &Arc<Handle>) {
        if !is_on {
            self.listener = None;
        } else if self.listener.is_none() {
            self.listener = Some(events.listen(handle.id, notified(handle)));
        }
    }

    fn watch(
        &mut self,
        prefix: Option<Name>,
        budget: &Budget,
        events: &Arc<Events>,
        handle: &Arc<Handle>,
    ) -> Answer<()> {
        if self.watched.iter().any(|watched| is_within(prefix.as_ref(), watched.prefix.as_ref())) {
            return Ok(());
        }
        let narrower = |watched: &&WatchedPrefix| is_within(watched.prefix.as_ref(), prefix.as_ref());
        let missed: u64 = self.watched.iter().filter(narrower).map(|watched| watched.watcher.behind()).sum();
        let others = self.watched.len() - self.watched.iter().filter(narrower).count();
        if others >= MAX_WATCHES {
            return Err(Error::TooManyWatches);
        }
        budget.resize(&mut self.charge, (others + 1) * WATCH_BYTES)?;
        self.remove(prefix.as_ref());
        self.missed += missed;
        let watcher = events.watch(text(prefix.as_ref()), None, notified(handle));
        self.watched.push_back(WatchedPrefix { prefix, watcher });
        Ok(())
    }

    /// Whether any name with the prefix was watched as such.
    fn unwatch(&mut self, prefix: Option<&Name>) -> bool {
        let is_any = self.remove(prefix);
        if self.watched.is_empty() {
            self.charge.give_back();
        }
        is_any
    }

    fn remove(&mut self, prefix: Option<&Name>) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| !is_within(watched.prefix.as_ref(), prefix));
        self.watched.len() < before
    }

    /// What comes next, as far as the user may know of it.
    fn next(&mut self, user: Option<&User>) -> Option<Told> {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            return Some(Told::Missed(Some(missed).filter(|_| user.is_none_or(User::may_see_all))));
        }
        if let Some(listener) = &self.listener {
            if let Some(wait) = listener.next() {
                return Some(Told::Waiting(wait));
            }
            if let Some(missed) = listener.take_missed() {
                return Some(Told::Missed(missed));
            }
        }
        // In turns: one of which much is told does not hold up the others.
        (0..self.watched.len()).find_map(|_| {
            self.watched.rotate_left(1);
            self.watched.back_mut()?.next(user)
        })
    }
}

impl WatchedPrefix {
    fn next(&mut self, user: Option<&User>) -> Option<Told> {
        loop {
            let told = shown(self.watcher.next()?, self.prefix.as_ref(), user);
            if told.is_some() {
                return told;
            }
        }
    }
}

/// As the user may know it. How many events were missed is their business if they may see all of the prefix.
pub(crate) fn shown(next: NextEvent, prefix: Option<&Name>, user: Option<&User>) -> Option<Told> {
    match next {
        NextEvent::Event(event) => {
            user.is_none_or(|user| user.may_see(&event.name)).then_some(Told::Lock(event))
        }
        NextEvent::Missed(count) => {
            let sees_all =
                |user: &User| prefix.map_or_else(|| user.may_see_all(), |prefix| user.may_see(prefix));
            Some(Told::Missed(count.filter(|_| user.is_none_or(sees_all))))
        }
    }
}

/// Of the handle, which stays a weak one: its session owns what is told there.
fn notified(handle: &Arc<Handle>) -> Weak<dyn Notified> {
    let handle: Weak<Handle> = Arc::downgrade(handle);
    handle
}

impl Session {
    /// Whether it is told of sessions that begin to wait for what it holds.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn listen(&mut self, is_on: bool) -> Answer<()> {
        self.authorize(|_| Ok(()))?;
        self.handle.with_inbox(|inbox| inbox.listen(is_on, self.service.events(), &self.handle));
        self.service.serve_events();
        Ok(())
    }

    /// Watches the locks whose names start with a prefix, or all: it is told of those that it may see.
    ///
    /// # Errors
    /// [`Error::NoLogin`], [`Error::TooManyWatches`] or [`Error::TooMuchMemory`]: nothing more is watched.
    pub fn watch(&mut self, prefix: Option<Name>) -> Answer<()> {
        self.authorize(|_| Ok(()))?;
        let budget = self.budget();
        let watched =
            self.handle.with_inbox(|inbox| inbox.watch(prefix, &budget, self.service.events(), &self.handle));
        if let Err(Error::TooMuchMemory(exceeded)) = &watched {
            self.count_refusal((*exceeded).into());
        }
        self.service.serve_events();
        watched
    }

    /// Watches them no more. False if it did not.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn unwatch(&mut self, prefix: Option<&Name>) -> Answer<bool> {
        self.authorize(|_| Ok(()))?;
        Ok(self.handle.with_inbox(|inbox| inbox.unwatch(prefix)))
    }
}

impl Handle {
    /// What its client is to be told next. When there is nothing, the session is woken again by what comes.
    pub fn next_told(&self) -> Option<Told> {
        self.with_inbox_of(Inbox::next)?
    }
}
