//! A session as others see it, and how they end it: by one word and one waker, with no list to join at every wait.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{allowance::LockAllowance, inbox::Inbox};
use crate::core::{
    budget::{Budget, Charge, Exceeded, Memory},
    client_info::{ClientInfo, Origin},
    clock::coarse_millis,
    command::{EndReason, Error, Kill},
    events::Notified,
    lock::SessionId,
    share::{QuotaExceeded, QuotaKey, Transfer},
    sync::{AtomicU64, AtomicUsize, AtomicWaker, Guarded, Ordering, Rank, mutant, plain},
    users::User,
};

/// What a session has been told, as one word. A greater one outranks a lesser one. Those from [`DRAIN`] on are never taken
/// back.
const GO_ON: u64 = 0;
/// Beside the others: there is something for its client in the inbox.
const NEWS: u64 = 1;
/// To take nothing new for now.
const PAUSE: u64 = 2;
/// To end when nothing is held any more.
const DRAIN: u64 = 4;
const SHUTDOWN: u64 = 6;
const REVOKED: u64 = 8;
const KILLED: u64 = 10;

/// Why a session looks at its notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is to end.
    End(EndReason),
    /// There is something for its client: [`Handle::next_told`].
    News,
}

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    pub(super) id: SessionId,
    pub(super) origin: Origin,
    pub(super) since: Instant,
    /// When its client sent its last command, by the coarse clock.
    last_command: plain::AtomicU64,
    holds: AtomicUsize,
    pub(super) allowance: LockAllowance,
    /// Set by anyone.
    notice: AtomicU64,
    /// Who has killed it. Set before the notice that tells of it, whose order is what shuttle looks at.
    kill: plain::Guarded<Option<Arc<Kill>>>,
    /// Of the one task that runs the session.
    waker: AtomicWaker,
    client: Guarded<ClientState>,
}

/// What is known of the client of a session, beside where it comes from.
#[derive(Debug, Default)]
struct ClientState {
    user: Option<Arc<User>>,
    /// Boxed, and none for most clients of the line wire, which tell nothing.
    info: Option<Box<ClientInfo>>,
    /// The place of its connection, if it has one of its own.
    permit: Option<Weak<dyn Transfer>>,
    /// For the words of the client in it.
    charge: Charge,
    /// What it may make the server remember. Most keep next to nothing, and need none.
    budget: Option<Budget>,
    /// What it has asked to be told. Few have.
    inbox: Option<Box<Inbox>>,
}

impl ClientState {
    fn budget(&mut self, memory: &Arc<Memory>) -> Budget {
        self.budget.get_or_insert_with(|| Budget::of(memory)).clone()
    }
}

impl Handle {
    pub(super) fn new(id: SessionId, origin: Origin, max_locks: usize) -> Self {
        Self {
            id,
            origin,
            since: Instant::now(),
            last_command: plain::AtomicU64::new(coarse_millis()),
            holds: AtomicUsize::new(0),
            allowance: LockAllowance::new(max_locks),
            notice: AtomicU64::new(GO_ON),
            kill: plain::Guarded::new(Rank::Kill, None),
            waker: AtomicWaker::default(),
            client: Guarded::new(Rank::Client, ClientState::default()),
        }
    }

    /// What its client may make the server remember, out of what all may.
    pub(super) fn budget(&self, memory: &Arc<Memory>) -> Budget {
        self.client.lock().budget(memory)
    }

    /// It shares that of its connection.
    pub(super) fn set_budget(&self, budget: Budget) {
        self.client.lock().budget = Some(budget);
    }

    /// How many bytes its client makes the server remember.
    pub(super) fn memory(&self) -> usize {
        self.client.lock().budget.as_ref().map_or(0, Budget::used)
    }

    /// Notes what the client tells of itself, and pays for it. If there is no memory for it, what was told before stays.
    pub(super) fn describe(
        &self,
        memory: &Arc<Memory>,
        change: impl FnOnce(&mut ClientInfo),
    ) -> Result<(), Exceeded> {
        let mut client = self.client.lock();
        let info = client.info.as_deref().cloned();
        let mut info = Box::new(info.unwrap_or_else(|| ClientInfo::new(self.since)));
        change(&mut info);
        if info.bytes() != client.charge.bytes() {
            client.budget(memory).resize(&mut client.charge, info.bytes())?;
        }
        client.info = Some(info);
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where the session comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How long the session has lived.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tells the session to end as soon as it holds nothing, and grants it nothing new.
    pub(super) fn drain(&self) {
        self.notify(DRAIN);
    }

    /// Tells the session to end now.
    pub(super) fn end(&self, reason: EndReason) {
        self.notify(match reason {
            EndReason::Shutdown => SHUTDOWN,
            EndReason::Revoked => REVOKED,
            EndReason::Killed(kill) => {
                // Before the notice: who sees that one finds the kill. The first one stays.
                self.kill.lock().get_or_insert(kill);
                KILLED
            }
        });
    }

    fn notify(&self, notice: u64) {
        self.notice.fetch_max(notice, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Why the session is to end now, if it is.
    #[inline]
    pub fn end_reason(&self) -> Option<EndReason> {
        let notice = self.notice.load(Ordering::Acquire);
        if notice < DRAIN { None } else { self.end_by(notice) }
    }

    #[cold]
    fn end_by(&self, notice: u64) -> Option<EndReason> {
        match notice & !NEWS {
            DRAIN => (self.holds() == 0).then_some(EndReason::Shutdown),
            SHUTDOWN => Some(EndReason::Shutdown),
            REVOKED => Some(EndReason::Revoked),
            _ => self.kill.lock().clone().map(EndReason::Killed),
        }
    }

    /// Whether there is anything that [`Handle::poll_wakeup`] may be ready with.
    #[inline]
    pub fn has_notice(&self) -> bool {
        self.notice.load(Ordering::Acquire) != GO_ON
    }

    /// Tells the session to take nothing new, or that it may again.
    pub(super) fn pause(&self, is_paused: bool) {
        let (from, to) = if is_paused { (GO_ON, PAUSE) } else { (PAUSE, GO_ON) };
        let mut news = 0;
        // One that was told more than this takes nothing new anyway.
        while let Err(now) =
            self.notice.compare_exchange(from | news, to | news, Ordering::AcqRel, Ordering::Acquire)
            && now & !NEWS == from
        {
            news = now & NEWS;
        }
    }

    /// Whether there may be something for its client.
    pub fn has_news(&self) -> bool {
        self.notice.load(Ordering::Acquire) & NEWS != 0
    }

    /// What comes from now on is news again. To be called before the inbox is looked at.
    pub fn take_news(&self) {
        self.notice.fetch_and(!NEWS, Ordering::AcqRel);
    }

    pub(super) fn with_inbox<T>(&self, look: impl FnOnce(&mut Inbox) -> T) -> T {
        look(self.client.lock().inbox.get_or_insert_default())
    }

    pub(super) fn with_inbox_of<T>(&self, look: impl FnOnce(&mut Inbox, Option<&User>) -> T) -> Option<T> {
        let mut client = self.client.lock();
        let ClientState { user, inbox, .. } = &mut *client;
        Some(look(inbox.as_deref_mut()?, user.as_deref()))
    }

    /// Why it is granted nothing new, if it is not.
    pub(super) fn refuses_grants(&self) -> Option<Error> {
        match self.notice.load(Ordering::Acquire) & !NEWS {
            PAUSE => Some(Error::NoTokens),
            DRAIN | SHUTDOWN => Some(Error::Stopping),
            _ => None,
        }
    }

    /// Whether it is granted nothing new: the server stops, or has no fencing tokens left.
    pub(super) fn is_refused_grants(&self) -> bool {
        (PAUSE..REVOKED).contains(&self.notice.load(Ordering::Acquire))
    }

    /// Ready when the session is to end. Only for the task that runs the session.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<EndReason> {
        self.poll_notice(cx, || self.end_reason())
    }

    /// Ready when the session is to end, or there is something for its client. Only for the task that runs the session.
    pub fn poll_wakeup(&self, cx: &Context<'_>) -> Poll<Woken> {
        self.poll_notice(cx, || {
            let notice = self.notice.load(Ordering::Acquire);
            if notice == GO_ON { None } else { self.wakeup(notice) }
        })
    }

    #[cold]
    fn wakeup(&self, notice: u64) -> Option<Woken> {
        let end = if notice < DRAIN { None } else { self.end_by(notice) };
        end.map(Woken::End).or_else(|| (notice & NEWS != 0).then_some(Woken::News))
    }

    /// Ready when `look` finds something; else this task is woken by the next notice.
    fn poll_notice<T>(&self, cx: &Context<'_>, look: impl Fn() -> Option<T>) -> Poll<T> {
        mutant!(LateWaker => let told = look(); self.waker.register(cx.waker());
            return told.map_or(Poll::Pending, Poll::Ready));
        // The waker first: a notice that comes after the look finds it.
        self.waker.register(cx.waker());
        look().map_or(Poll::Pending, Poll::Ready)
    }

    /// Resolves when the session is to end. Cancel-safe.
    pub async fn ended(&self) -> EndReason {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Resolves when waits are to end, because of a stop or a kill. Cancel-safe.
    pub(super) fn wait_is_to_end(&self) -> impl Future<Output = ()> {
        let is_told = || (self.notice.load(Ordering::Acquire) >= DRAIN).then_some(());
        poll_fn(move |cx| self.poll_notice(cx, is_told))
    }

    /// Notes that the client has sent a command.
    pub fn note_command(&self) {
        self.last_command.store(coarse_millis(), Ordering::Relaxed);
    }

    /// Notes what the client is doing.
    pub fn note(&self, change: impl FnOnce(&mut ClientInfo)) {
        let mut client = self.client.lock();
        let info = client.info.get_or_insert_with(|| Box::new(ClientInfo::new(self.since)));
        change(info);
        info.since = Instant::now();
    }

    /// Notes that it is idle from now on.
    pub fn note_idle(&self) {
        self.note(|_| {});
    }

    /// The user that it has logged in as; none where there are no users.
    pub(crate) fn user(&self) -> Option<Arc<User>> {
        self.client.lock().user.clone()
    }

    pub(super) fn set_user(&self, user: Option<Arc<User>>) {
        self.client.lock().user = user;
    }

    /// The place of its connection, which passes to the user that it logs in as.
    pub(crate) fn set_permit(&self, permit: Weak<dyn Transfer>) {
        self.client.lock().permit = Some(permit);
    }

    /// Passes the place of its connection to a user.
    pub(super) fn pass_permit_to(&self, user: &User) -> Result<(), QuotaExceeded> {
        let permit = self.client.lock().permit.as_ref().and_then(Weak::upgrade);
        permit.map_or(Ok(()), |permit| permit.transfer_to(QuotaKey::User(user.name().into())))
    }

    /// Replaces its user by the same one as read again; not if it has become another's meanwhile.
    pub(super) fn renew_user(&self, now: &Arc<User>) {
        if let Some(user) = &mut self.client.lock().user
            && user.name() == now.name()
        {
            *user = now.clone();
        }
    }

    /// What the client has told of itself.
    pub fn client_info(&self) -> ClientInfo {
        let client = self.client.lock();
        let info = client.info.as_deref().map_or_else(|| ClientInfo::new(self.since), ClientInfo::clone);
        let idle = coarse_millis().saturating_sub(self.last_command.load(Ordering::Relaxed));
        let last_command = Instant::now().checked_sub(Duration::from_millis(idle)).unwrap_or(self.since);
        ClientInfo { user: client.user.clone(), last_command: last_command.max(self.since), ..info }
    }

    pub(super) fn holds(&self) -> usize {
        self.holds.load(Ordering::Relaxed)
    }

    pub(super) fn publish_holds(&self, holds: usize) {
        self.holds.store(holds, Ordering::Relaxed);
    }
}

impl Notified for Handle {
    fn notify(&self) {
        self.notice.fetch_or(NEWS, Ordering::AcqRel);
        self.waker.wake();
    }
}
