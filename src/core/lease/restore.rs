//! Leases that a store has are taken up at the start of a server.

use std::{
    cmp::Reverse,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Durability, Leases,
    live::{Lease, Running},
};
use crate::{
    core::{
        session::Session,
        share::{QuotaKey, Reservation},
        store::{BootMoment, DurableLease},
    },
    name::Name,
};

/// Why a lease is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Dropped {
    #[error("it ended while no server ran")]
    Expired,
    #[error("its user may not lock it any more")]
    Denied,
    #[error("a lease with a higher fencing token holds one of its locks")]
    Held,
    #[error("another lease has its session id")]
    SessionTaken,
    #[error("there is no memory for what its client told of itself")]
    Memory,
}

impl Leases {
    /// Takes up the leases that a store has, before anything else is granted: each for its whole time to live from now, or
    /// to its end if that is known. How many.
    pub fn restore(self: &Arc<Self>, mut leases: Vec<DurableLease>, now: Option<BootMoment>) -> usize {
        // Should two have one lock, which no server writes, the later grant keeps it.
        leases.sort_by_key(|lease| Reverse(lease.token));
        leases.into_iter().filter(|lease| self.restore_one(lease, now)).count()
    }

    fn restore_one(self: &Arc<Self>, stored: &DurableLease, now: Option<BootMoment>) -> bool {
        let left = stored.left(now);
        let restored = if left.is_zero() { Err(Dropped::Expired) } else { self.restored_session(stored) };
        match restored {
            Ok((session, reservation)) => {
                Lease::restore(self, Running::new(session, reservation), stored, Instant::now() + left);
                true
            }
            Err(why) => {
                self.drop_stored(stored, why);
                false
            }
        }
    }

    fn drop_stored(&self, stored: &DurableLease, why: Dropped) {
        let DurableLease { token, user, session, .. } = stored;
        if why == Dropped::Expired {
            tracing::debug!(%session, token, user, %why, "lease not restored");
        } else {
            tracing::warn!(%session, token, user, %why, "lease not restored");
        }
        if let Some(Durability { writer, .. }) = &self.durability {
            // Nobody waits for it: the next start would find it as this one did.
            drop(writer.delete(stored.key));
        }
    }

    /// The session of a restored lease, with its locks: all of them, or it is dropped with those that it has.
    fn restored_session(&self, stored: &DurableLease) -> Result<(Session, Reservation), Dropped> {
        let user = match self.service.users() {
            None => None,
            Some(users) => {
                let user = stored.user.as_deref().and_then(|user| users.find(user));
                Some(
                    user.filter(|user| stored.names.iter().all(|name| user.may_lock(name)))
                        .ok_or(Dropped::Denied)?,
                )
            }
        };
        let quota_key = QuotaKey::of(user.as_deref(), stored.origin.peer.ip());
        // There may be more than the flags of this start allow. They were promised.
        let reservation = self.quota.take_over(quota_key);
        let restored = self.service.restore(stored.session, stored.origin);
        let mut session = restored.ok_or(Dropped::SessionTaken)?;
        if let Some(user) = user {
            session.authenticate_as(user);
        }
        let introduced = session.introduce(stored.client.clone(), stored.note.clone());
        introduced.map_err(|_| Dropped::Memory)?;
        let held = SystemTime::UNIX_EPOCH + Duration::from_millis(stored.granted_ms);
        let since = held.elapsed().ok().and_then(|held| Instant::now().checked_sub(held));
        let since = since.unwrap_or_else(Instant::now);
        let mut restore = |name: &Name| session.restore(name.clone(), stored.mode, stored.token, since);
        let is_held = stored.names.iter().all(&mut restore);
        if is_held { Ok((session, reservation)) } else { Err(Dropped::Held) }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::core::{
        client_info::{Origin, Wire},
        lease::{Bounds, Client, Key, LeaseError, LeaseNames, Secret, Unwritten},
        lock::{Mode, SessionId},
        session::{Limits, LockService, Locks, Principal, first_page},
        store::{Floors, NotWritten, StoreWriter},
        users::{NewEntry, Users, entry},
    };

    const TTL: Duration = Duration::from_mins(1);
    const BOOT: BootMoment = BootMoment { boot: [7; 16], millis: 100_000 };
    const ORIGIN: Origin = Origin {
        wire: Wire::Http,
        peer: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_112),
    };

    /// A lease that was renewed: nobody knows its end.
    fn stored(name: &str, session: u32) -> DurableLease {
        DurableLease {
            key: Key::of("token", &[name, &session.to_string()]),
            names: Name::new(name).unwrap().into(),
            mode: Mode::Exclusive,
            token: session.into(),
            ttl: TTL,
            session: SessionId(session),
            origin: ORIGIN,
            user: None,
            client: String::new(),
            note: None,
            granted_ms: 0,
            ends: None,
        }
    }

    /// A server whose store has these leases, and the writer of its store, which writes nothing yet.
    fn server(stored: &[DurableLease], users: Option<Arc<Users>>) -> (Arc<Leases>, Arc<StoreWriter>) {
        let floors = Floors { token: 100, session: 6 };
        let writer = StoreWriter::new(stored.iter().cloned(), floors);
        let service = LockService::with_store(Limits::default(), users, floors, Some(writer.clone()));
        let bounds = Bounds { min: Duration::ZERO, max: 2 * TTL, count: 1 };
        let request_key = Secret::random().unwrap();
        let durability =
            Durability { writer: writer.clone(), unwritten: Unwritten::UpTo(Duration::ZERO), request_key };
        (Leases::with_store(service, bounds, TaskTracker::new(), Some(durability)), writer)
    }

    /// The names of the leases that are taken up, and how many the store is to have from then on.
    fn restored(leases: Vec<DurableLease>, users: Option<Arc<Users>>) -> (Vec<String>, usize) {
        let (server, writer) = server(&leases, users);
        let count = server.restore(leases, Some(BOOT));
        let mut names: Vec<_> = server.all().iter().map(|lease| lease.names.first().to_string()).collect();
        names.sort();
        assert_eq!(count, names.len());
        (names, writer.count())
    }

    fn of_several(names: &[&str], session: u32) -> DurableLease {
        let names = names.iter().map(|name| Name::new(name).unwrap()).collect();
        DurableLease { names: LeaseNames::new(names).unwrap(), ..stored("of several", session) }
    }

    #[tokio::test]
    async fn lease_of_several_locks_has_all_of_them_again() {
        let lease = of_several(&["b", "a"], 7);
        let (server, _) = server(std::slice::from_ref(&lease), None);
        assert_eq!(server.restore(vec![lease.clone()], Some(BOOT)), 1);
        let mut table = server.service().open(ORIGIN);
        let rows = table.query(&Locks { prefix: None, page: first_page() }).unwrap().rows;
        let held: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.session.0, row.fencing_token)).collect();
        assert_eq!(held, [("a", 7, 7), ("b", 7, 7)]);
        for name in lease.names.iter() {
            assert!(server.remaining(&lease.key, name, Principal::ALL).await.is_ok(), "by any of its names");
        }
        let renewed = server.renew(&lease.key, lease.names.first(), None, Principal::ALL).await.unwrap();
        assert_eq!(renewed.token, 7);
    }

    #[tokio::test]
    async fn lease_that_lacks_a_lock_is_dropped_with_the_others() {
        let leases = vec![of_several(&["a", "b"], 1), stored("b", 2)];
        let (server, writer) = server(&leases, None);
        assert_eq!(server.restore(leases, Some(BOOT)), 1);
        let free = ["a", "b"].map(|name| server.service().is_free(&Name::new(name).unwrap()));
        assert_eq!((free, writer.count()), ([true, false], 1));
    }

    #[tokio::test]
    async fn lease_that_ended_meanwhile_is_dropped_and_deleted() {
        let moment = |millis, boot| Some(BootMoment { boot, millis });
        let over = DurableLease { ends: moment(BOOT.millis, BOOT.boot), ..stored("over", 1) };
        let runs = DurableLease { ends: moment(BOOT.millis + 1, BOOT.boot), ..stored("runs", 2) };
        let other_boot = DurableLease { ends: moment(1, [8; 16]), ..stored("other boot", 3) };
        let leases = vec![over, runs, other_boot, stored("renewed", 4)];
        let names = ["other boot", "renewed", "runs"].map(str::to_owned).to_vec();
        assert_eq!(restored(leases, None), (names, 3));
    }

    #[tokio::test]
    async fn lease_of_a_user_without_the_right_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let app = NewEntry { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..NewEntry::default() };
        std::fs::write(&path, entry(&app, b"secret of app", false).unwrap()).unwrap();
        let users = Arc::new(Users::load(&path).unwrap());
        let of = |name: &str, session, user: Option<&str>| DurableLease {
            user: user.map(str::to_owned),
            ..stored(name, session)
        };
        let leases = vec![
            of("app:1", 1, Some("app")),
            of("other:1", 2, Some("app")),
            of("app:2", 3, Some("gone")),
            of("app:3", 4, None),
        ];
        assert_eq!(restored(leases, Some(users)), (vec!["app:1".to_owned()], 1));
    }

    #[tokio::test]
    async fn of_two_leases_on_a_lock_the_later_grant_stays() {
        let both = || [stored("a", 1), stored("a", 2)];
        for leases in [both().to_vec(), both().into_iter().rev().collect()] {
            let (server, writer) = server(&leases, None);
            assert_eq!(server.restore(leases, Some(BOOT)), 1);
            assert_eq!(server.all()[0].handle().id(), SessionId(2));
            assert_eq!(writer.count(), 1, "the other one is deleted");
        }
    }

    #[tokio::test]
    async fn more_leases_than_may_be_are_restored() {
        let leases = vec![stored("a", 1), stored("b", 2), stored("c", 3)];
        let (server, _) = server(&leases, None);
        assert_eq!(server.restore(leases, Some(BOOT)), 3);
        let client = Client {
            origin: ORIGIN,
            gone: tokio_util::sync::CancellationToken::new(),
            user: None,
            via: None,
        };
        assert!(server.reserve(&client).is_err(), "no more are granted");
    }

    #[tokio::test]
    async fn session_id_of_a_restored_lease_is_not_given_again() {
        let leases = vec![stored("a", 7)];
        let (server, _) = server(&leases, None);
        assert_eq!(server.restore(leases, Some(BOOT)), 1);
        let ids = [(); 2].map(|()| server.service().open(ORIGIN).id());
        assert_eq!(ids, [SessionId(8), SessionId(9)]);
    }

    #[tokio::test]
    async fn closed_store_keeps_a_released_lease_and_its_client_is_told() {
        let leases = vec![stored("a", 1), stored("b", 2)];
        let [released, renewed] = [0, 1].map(|at| (leases[at].key, leases[at].names.first().clone()));
        let (server, writer) = server(&leases, None);
        server.restore(leases, Some(BOOT));
        writer.close(server.all_stored());
        for _ in 0..2 {
            let told = server.release(&released.0, &released.1, Principal::ALL).await;
            assert_eq!(told, Err(LeaseError::NotWritten(NotWritten::Closed)));
        }
        // The next server gives it its whole time to live again.
        assert!(server.renew(&renewed.0, &renewed.1, None, Principal::ALL).await.is_ok());
        let longer = server.renew(&renewed.0, &renewed.1, Some(2 * TTL), Principal::ALL).await;
        assert_eq!(longer.unwrap_err(), LeaseError::NotWritten(NotWritten::Closed));
    }

    #[tokio::test]
    async fn lease_is_marked_restored_until_its_first_heartbeat() {
        let leases = vec![stored("a", 1)];
        let (key, name) = (leases[0].key, leases[0].names.first().clone());
        let (server, _) = server(&leases, None);
        server.restore(leases, Some(BOOT));
        let lease = server.all().remove(0);
        assert!(lease.handle().client_info().restored);
        let renewed = server.renew(&key, &name, None, Principal::ALL).await.unwrap();
        assert_eq!(renewed.token, 1, "its fencing token stays");
        assert!(!lease.handle().client_info().restored);
    }
}
