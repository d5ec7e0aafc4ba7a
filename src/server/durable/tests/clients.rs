//! Clients that take leases and tend them, vanish, and are killed; and connections that want the same locks.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use getlockd_proto::timeout::Timeout;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    OpenStore,
    disk::Disk,
    ledger::{Ledger, Moment, Told},
};
use crate::{
    core::{
        client_info::{Origin, Wire},
        clock::simulated,
        command::{AcquireAnswer, Error, LockRequest},
        lease::{Client, Grant, LeaseError, LeaseNames, LeaseRequest, Leases, Secret},
        lock::Mode,
        session::{Acquiring, HoldersOf, Principal},
        stats::ReleaseCause,
    },
    dice::Dice,
    name::Name,
};

const NAMES: [&str; 3] = ["nightly", "reports", "backup"];
const ANYBODY: Principal<'_> = Principal(None);

/// Times to live; some are not longer than some graces.
const TTLS: [Duration; 4] =
    [Duration::from_millis(40), Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(4)];

/// A server that runs, and what all were told.
pub(super) struct Scene {
    pub leases: Arc<Leases>,
    pub disk: Arc<Disk>,
    pub ledger: Arc<Mutex<Ledger>>,
    pub store: OpenStore,
}

pub(super) fn now() -> Moment {
    simulated::clocks().unwrap().uptime
}

/// A moment of tokio, on the clock of the machine.
fn moment(instant: Instant) -> Moment {
    now() + instant.saturating_duration_since(Instant::now())
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn origin(wire: Wire) -> Origin {
    Origin { wire, peer: ([127, 0, 0, 1], 1).into() }
}

fn any_name(dice: &mut Dice) -> Name {
    Name::new(dice.pick(&NAMES)).unwrap()
}

fn any_mode(dice: &mut Dice) -> Mode {
    dice.pick(&[Mode::Shared, Mode::Permit(2), Mode::Exclusive, Mode::Exclusive])
}

/// One lock or several, and never several permits.
fn any_names(mode: Mode, dice: &mut Dice) -> LeaseNames {
    let several = [(); 2].map(|()| any_name(dice)).to_vec();
    let is_several = mode.limit().is_none() && dice.one_in(3);
    if is_several { LeaseNames::new(several).unwrap() } else { any_name(dice).into() }
}

impl Scene {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// Every lease that was told runs for as long as was told, and none that was told to have ended runs.
    pub(super) async fn check_restored(&self) {
        let running = self.ledger().running(now());
        let ended = self.ledger().not_running();
        for told in running {
            let left = self.leases.remaining(&told.key.unwrap(), told.names.first(), ANYBODY).await;
            self.ledger().restored += 1;
            if !left.as_ref().is_ok_and(|left| now() + *left >= told.ends) {
                self.ledger()
                    .fault(format!("lost or shorter at {:?} after a start: {left:?}, {told:?}", now()));
            }
            self.check_held(&told);
        }
        for (key, names) in ended {
            if self.leases.remaining(&key, names.first(), ANYBODY).await.is_ok() {
                self.ledger()
                    .fault(format!("the lease {key:?} on {names:?} was told to have ended, and is back"));
            }
        }
    }

    /// It has each of its locks, as it was granted.
    fn check_held(&self, told: &Told) {
        let mut looks = self.leases.service().open(origin(Wire::Line));
        for name in told.names.iter().cloned() {
            let holders = looks.query(&HoldersOf { name, limit: usize::MAX }).unwrap().rows;
            if !holders.iter().any(|row| (row.fencing_token, row.mode) == (told.token, told.mode)) {
                self.ledger().fault(format!("without a lock after a start: {told:?}, held by {holders:?}"));
            }
        }
    }

    /// Leases and connections, one after the other, for as long as there is a server.
    pub(super) async fn client(self: Arc<Self>, mut dice: Dice) {
        loop {
            sleep(millis(dice.below(30))).await;
            // No connection is accepted once the server stops.
            if dice.one_in(6) && !self.leases.service().registry().is_draining() {
                self.connection(&mut dice).await;
            } else if let Some(told) = self.take(&mut dice).await {
                self.tend(told, &mut dice).await;
            }
        }
    }

    async fn take(&self, dice: &mut Dice) -> Option<Told> {
        let (mode, ttl) = (any_mode(dice), dice.pick(&TTLS));
        let names = any_names(mode, dice);
        let before = self.ledger().highest(&names);
        let wait = Timeout::Within(millis(dice.pick(&[0, 20, 400])));
        let request = LeaseRequest {
            names: names.clone(),
            mode,
            wait,
            ttl: Some(ttl),
            ..LeaseRequest::of(any_name(dice))
        };
        let client =
            Client { origin: origin(Wire::Http), gone: CancellationToken::new(), user: None, via: None };
        // Some lose patience, be it in the middle of the write.
        let patience = if dice.one_in(8) { millis(dice.below(20)) } else { Duration::from_hours(1) };
        let (Grant { token, ends, delivery, .. }, secret): (Grant, Secret) =
            timeout(patience, self.leases.acquire(request, client)).await.ok()?.ok()?;
        if dice.one_in(12) {
            // Its client vanishes before it has the answer.
            return None;
        }
        delivery.done();
        let told = Told { key: Some(secret.key()), ttl, ..Told::new(&names, mode, token, moment(ends)) };
        self.ledger().granted(now(), told.clone(), before);
        Some(told)
    }

    /// A lease on the first name.
    pub(super) async fn take_for(&self, ttl: Duration) -> Told {
        let name = Name::new(NAMES[0]).unwrap();
        let request = LeaseRequest { ttl: Some(ttl), ..LeaseRequest::of(name.clone()) };
        let client =
            Client { origin: origin(Wire::Http), gone: CancellationToken::new(), user: None, via: None };
        let (grant, secret) = self.leases.acquire(request, client).await.unwrap();
        grant.delivery.done();
        let (token, ends) = (grant.token, moment(grant.ends));
        let told =
            Told { key: Some(secret.key()), ttl, ..Told::new(&name.into(), Mode::Exclusive, token, ends) };
        self.ledger().granted(now(), told.clone(), 0);
        told
    }

    /// A heartbeat that is taken.
    pub(super) async fn renew(&self, told: &Told) {
        let renewed = self.leases.renew(&told.key.unwrap(), told.names.first(), None, ANYBODY).await.unwrap();
        self.ledger().renewed(told.token, None, moment(renewed.ends));
    }

    /// Heartbeats, and then the release; or its client vanishes, or it is killed.
    pub(super) async fn tend(&self, told: Told, dice: &mut Dice) {
        let (key, mut ttl) = (told.key.unwrap(), told.ttl);
        for _ in 0..dice.below(6) {
            sleep(ttl * u32::try_from(dice.below(5)).unwrap() / 4).await;
            let other = dice.one_in(4).then(|| dice.pick(&TTLS));
            self.ledger().renewing(now(), told.token, other);
            let patience = if dice.one_in(8) { millis(dice.below(12)) } else { Duration::from_hours(1) };
            match timeout(patience, self.leases.renew(&key, told.names.first(), other, ANYBODY)).await {
                Ok(Ok(renewed)) => {
                    ttl = other.unwrap_or(ttl);
                    self.ledger().renewed(told.token, other, moment(renewed.ends));
                }
                Ok(Err(LeaseError::Gone | LeaseError::NotYours)) => {
                    return self.ledger().gone(now(), told.token);
                }
                Ok(Err(LeaseError::NotWritten(_) | LeaseError::Refused(Error::NotWritten))) | Err(_) => {}
                Ok(Err(other)) => self.ledger().fault(format!("a heartbeat is told: {other}")),
            }
        }
        match dice.below(4) {
            0 => {}
            1 => self.kill(&told),
            _ => self.release(&told).await,
        }
    }

    async fn release(&self, told: &Told) {
        self.ledger().gives_up(told.token);
        match self.leases.release(&told.key.unwrap(), told.names.first(), ANYBODY).await {
            Ok(()) | Err(LeaseError::Gone | LeaseError::NotYours) => self.ledger().gone(now(), told.token),
            Err(LeaseError::NotWritten(_) | LeaseError::Refused(Error::NotWritten)) => {}
            Err(other) => self.ledger().fault(format!("a release is told: {other}")),
        }
    }

    fn kill(&self, told: &Told) {
        let Some(stored) = self.disk.file().leases.remove(&told.key.unwrap()) else { return };
        self.ledger().gives_up(told.token);
        let mut killer = self.leases.service().open(origin(Wire::Line));
        // It may have ended by itself.
        let _ = killer.kill(stored.session, None);
    }

    /// A connection that holds a lock for a while.
    async fn connection(&self, dice: &mut Dice) {
        let (name, mode) = (any_name(dice), any_mode(dice));
        let before = self.ledger().highest(&name.clone().into());
        let mut session = self.leases.service().open(origin(Wire::Line));
        self.ledger().connected(session.id().0);
        let timeout = Timeout::Within(millis(dice.pick(&[0, 20, 400])));
        let answer = match session.acquire(LockRequest { name: name.clone(), mode, timeout }) {
            Acquiring::Done(answer) => Ok(answer),
            Acquiring::Waiting(waiting) => waiting.finish().await,
        };
        let (Ok(Ok(AcquireAnswer::Granted(_))), Some(token)) = (answer, session.token(&name)) else { return };
        self.ledger().granted(now(), Told::new(&name.into(), mode, token, Moment::MAX), before);
        sleep(millis(dice.below(60))).await;
        self.ledger().gives_up(token);
        session.end(ReleaseCause::Release);
        self.ledger().gone(now(), token);
    }
}
