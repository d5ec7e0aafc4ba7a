//! A session as others see it, and how they end it.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    room::Room,
    signal::{Notice, Signal},
};
use crate::{
    budget::{Budget, Charge, Exceeded, Memory},
    command::{Ending, Origin},
    lock::SessionId,
    share::{NoPlace, Pass, Principal},
    sync::{AtomicUsize, Guarded, Ordering, Rank},
    user::User,
};

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    pub(super) id: SessionId,
    pub(super) origin: Origin,
    pub(super) since: Instant,
    holds: AtomicUsize,
    pub(super) room: Room,
    pub(super) signal: Signal,
    noted: Guarded<Noted>,
}

/// What is known of a client, beside where it comes from.
#[derive(Debug, Default)]
struct Noted {
    principal: Option<Arc<User>>,
    /// Most clients of the line wire tell nothing.
    profile: Option<Box<Profile>>,
    /// The place of its connection, if it has one of its own.
    seat: Option<Weak<dyn Pass>>,
    /// For the words of the client in it.
    paid: Charge,
    /// What it may make the server remember. Most keep next to nothing, and need none.
    budget: Option<Budget>,
}

impl Noted {
    fn budget(&mut self, memory: &Arc<Memory>) -> Budget {
        self.budget.get_or_insert_with(|| Budget::of(memory)).clone()
    }
}

/// What a client tells of itself, for people who look at the list of sessions.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The user that it has proved to be, where the server has users.
    pub principal: Option<Arc<User>>,
    /// The name that it logged in with; nobody has checked it where the server has no users. Empty without a
    /// login.
    pub login: String,
    /// What it calls itself; empty if it does not.
    pub client: String,
    /// The database that it uses in name.
    pub database: Option<String>,
    /// The statement that waits.
    pub statement: Option<String>,
    /// Since when it waits, or is idle; of a lease, when it was last heard of.
    pub since: Instant,
    /// Why a lease was taken, in its owner's words.
    pub note: Option<Box<str>>,
    /// When a lease ends if it is not renewed.
    pub expires: Option<Instant>,
}

impl Profile {
    fn new(since: Instant) -> Self {
        Self {
            principal: None,
            login: String::new(),
            client: String::new(),
            database: None,
            statement: None,
            since,
            note: None,
            expires: None,
        }
    }
}

impl Profile {
    /// Whom it logged in as.
    pub fn user(&self) -> Option<&str> {
        let proved = self.principal.as_ref().map(|principal| principal.name());
        proved.or_else(|| Some(&*self.login).filter(|login| !login.is_empty()))
    }

    /// What it calls itself.
    pub fn client(&self) -> Option<&str> {
        Some(&*self.client).filter(|client| !client.is_empty())
    }
}

impl Handle {
    pub(super) fn new(id: SessionId, origin: Origin, room: Room) -> Self {
        let (holds, signal, since) = (AtomicUsize::new(0), Signal::default(), Instant::now());
        Self { id, origin, since, holds, room, signal, noted: Guarded::new(Rank::Client, Noted::default()) }
    }

    /// What its client may make the server remember, out of what all may.
    pub(super) fn budget(&self, memory: &Arc<Memory>) -> Budget {
        self.noted.lock().budget(memory)
    }

    /// It shares that of its connection.
    pub(super) fn set_budget(&self, budget: Budget) {
        self.noted.lock().budget = Some(budget);
    }

    /// How many bytes its client makes the server remember.
    pub(super) fn memory(&self) -> usize {
        self.noted.lock().budget.as_ref().map_or(0, Budget::used)
    }

    /// Pays for so many bytes of what the client tells of itself.
    pub(super) fn keep(&self, bytes: usize, memory: &Arc<Memory>) -> Result<(), Exceeded> {
        let mut noted = self.noted.lock();
        if bytes == noted.paid.bytes() { Ok(()) } else { noted.budget(memory).resize(&mut noted.paid, bytes) }
    }

    /// Where the session comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Why the session is to end now, if it is.
    pub fn ending(&self) -> Option<Ending> {
        match self.signal.notice() {
            Notice::End(ending) => Some(ending),
            Notice::Drain if self.holds.load(Ordering::Relaxed) == 0 => Some(Ending::Shutdown),
            Notice::Drain | Notice::GoOn => None,
        }
    }

    /// Ready when the session is to end. Only for the task that runs the session.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<Ending> {
        self.signal.poll(cx, || self.ending())
    }

    /// Resolves when the session is to end. Cancel-safe.
    pub async fn ended(&self) -> Ending {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Notes what the client tells of itself, or begins to wait for, or that it is idle now.
    pub fn note(&self, change: impl FnOnce(&mut Profile)) {
        let mut noted = self.noted.lock();
        let profile = noted.profile.get_or_insert_with(|| Box::new(Profile::new(self.since)));
        change(profile);
        profile.since = Instant::now();
    }

    /// Who it was let in as, where there are users.
    pub(crate) fn principal(&self) -> Option<Arc<User>> {
        self.noted.lock().principal.clone()
    }

    pub(super) fn set_principal(&self, principal: Option<Arc<User>>) {
        self.noted.lock().principal = principal;
    }

    /// The place of its connection, which passes to the user that it logs in as.
    pub(crate) fn set_seat(&self, seat: Weak<dyn Pass>) {
        self.noted.lock().seat = Some(seat);
    }

    /// Passes the place of its connection to a user.
    pub(super) fn pass_seat_to(&self, user: &User) -> Result<(), NoPlace> {
        let seat = self.noted.lock().seat.as_ref().and_then(Weak::upgrade);
        seat.map_or(Ok(()), |seat| seat.pass_to(Principal::User(user.name().into())))
    }

    /// The user that it is let in as, as he is now; not if it has become another's meanwhile.
    pub(super) fn renew_principal(&self, now: &Arc<User>) {
        if let Some(principal) = &mut self.noted.lock().principal
            && principal.name() == now.name()
        {
            *principal = now.clone();
        }
    }

    /// What the client has told of itself.
    pub(super) fn profile(&self) -> Profile {
        let noted = self.noted.lock();
        let profile = noted.profile.as_deref().map_or_else(|| Profile::new(self.since), Profile::clone);
        Profile { principal: noted.principal.clone(), ..profile }
    }

    /// Whether the server stops, and grants nothing new.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.signal.notice(), Notice::Drain | Notice::End(Ending::Shutdown))
    }

    /// Resolves when waits are to end, be it by a stop or by a kill. Cancel-safe.
    pub(super) fn told_to_end(&self) -> impl Future<Output = ()> {
        let told = || (self.signal.notice() != Notice::GoOn).then_some(());
        poll_fn(move |cx| self.signal.poll(cx, told))
    }

    pub(super) fn holds(&self) -> usize {
        self.holds.load(Ordering::Relaxed)
    }

    pub(super) fn note_holds(&self, holds: usize) {
        self.holds.store(holds, Ordering::Relaxed);
    }
}
