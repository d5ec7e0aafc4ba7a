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
use crate::core::client_info::ClientInfo;
use crate::core::{
    budget::{Budget, Charge, Exceeded, Memory},
    client_info::Origin,
    command::EndReason,
    lock::SessionId,
    share::{NoPlace, Pass, QuotaKey},
    sync::{AtomicUsize, Guarded, Ordering, Rank},
    users::User,
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
    client_info: Option<Box<ClientInfo>>,
    /// The place of its connection, if it has one of its own.
    permit: Option<Weak<dyn Pass>>,
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
    pub fn ending(&self) -> Option<EndReason> {
        match self.signal.notice() {
            Notice::End(ending) => Some(ending),
            Notice::Drain if self.holds.load(Ordering::Relaxed) == 0 => Some(EndReason::Shutdown),
            Notice::Drain | Notice::GoOn => None,
        }
    }

    /// Ready when the session is to end. Only for the task that runs the session.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<EndReason> {
        self.signal.poll(cx, || self.ending())
    }

    /// Resolves when the session is to end. Cancel-safe.
    pub async fn ended(&self) -> EndReason {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Notes what the client tells of itself, or begins to wait for.
    pub fn note(&self, change: impl FnOnce(&mut ClientInfo)) {
        let mut noted = self.noted.lock();
        let client_info = noted.client_info.get_or_insert_with(|| Box::new(ClientInfo::new(self.since)));
        change(client_info);
        client_info.since = Instant::now();
    }

    /// Notes that it is idle from now on.
    pub fn note_idle(&self) {
        self.note(|_| {});
    }

    /// Who it was let in as, where there are users.
    pub(crate) fn principal(&self) -> Option<Arc<User>> {
        self.noted.lock().principal.clone()
    }

    pub(super) fn set_principal(&self, principal: Option<Arc<User>>) {
        self.noted.lock().principal = principal;
    }

    /// The place of its connection, which passes to the user that it logs in as.
    pub(crate) fn set_permit(&self, permit: Weak<dyn Pass>) {
        self.noted.lock().permit = Some(permit);
    }

    /// Passes the place of its connection to a user.
    pub(super) fn pass_permit_to(&self, user: &User) -> Result<(), NoPlace> {
        let permit = self.noted.lock().permit.as_ref().and_then(Weak::upgrade);
        permit.map_or(Ok(()), |permit| permit.pass_to(QuotaKey::User(user.name().into())))
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
    pub(super) fn profile(&self) -> ClientInfo {
        let noted = self.noted.lock();
        let client_info =
            noted.client_info.as_deref().map_or_else(|| ClientInfo::new(self.since), ClientInfo::clone);
        ClientInfo { principal: noted.principal.clone(), ..client_info }
    }

    /// Whether the server stops, and grants nothing new.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.signal.notice(), Notice::Drain | Notice::End(EndReason::Shutdown))
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
