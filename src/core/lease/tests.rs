//! `LEASE_LOCK` before a store that answers when it is told to.

use std::{convert::Infallible, future::pending, io, pin::pin};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::core::{
    client_info::Wire,
    command::ReleaseAnswer,
    session::Limits,
    store::{Batch, CommitError, DurableLease, Floors, Store},
};

type Answer = oneshot::Sender<Result<(), CommitError>>;

/// Each commit asks for an answer. It is never repaired.
#[derive(Debug)]
struct SlowStore(mpsc::UnboundedSender<Answer>);

impl Store for SlowStore {
    fn commit(&self, _: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).unwrap();
        async { answered.await.unwrap() }.boxed()
    }

    fn replace(&self, _: Vec<DurableLease>, _: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
        pending().boxed()
    }

    fn close(&self, _: Floors, _: bool) -> BoxFuture<'_, Result<(), CommitError>> {
        pending().boxed()
    }
}

/// Leases with such a store, and two sessions: the first holds the lock twice.
struct Scene {
    leases: Arc<Leases>,
    commits: mpsc::UnboundedReceiver<Answer>,
    holder: Session,
    other: Session,
}

impl Scene {
    fn new() -> Self {
        let (sender, commits) = mpsc::unbounded_channel();
        let writer = StoreWriter::new([], Floors { token: 1, session: 0 }.ahead());
        let service = LockService::new(Limits::default());
        tokio::spawn(
            writer.clone().run(Arc::new(SlowStore(sender)), Arc::new(|| Floors { token: 1, session: 0 })),
        );
        let request_key = Secret::random().unwrap();
        let durability =
            Durability { writer, unwritten: Unwritten::UpTo(Duration::from_secs(1)), request_key };
        let bounds = Bounds { min: Duration::ZERO, max: Duration::from_hours(1), count: 1 };
        let leases = Leases::with_store(service.clone(), bounds, TaskTracker::new(), Some(durability));
        let open = || service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() });
        let (mut holder, other) = (open(), open());
        for _ in 0..2 {
            assert!(try_lock(&mut holder));
        }
        Self { leases, commits, holder, other }
    }
}

fn name() -> Name {
    Name::new("nightly").unwrap()
}

fn try_lock(session: &mut Session) -> bool {
    let timeout = Timeout::Within(Duration::ZERO);
    let Acquiring::Done(answer) =
        session.acquire(LockRequest { name: name(), mode: Mode::Exclusive, timeout })
    else {
        unreachable!()
    };
    matches!(answer, Ok(AcquireAnswer::Granted(_)))
}

const TTL: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_the_store_has_it() {
    let mut scene = Scene::new();
    let name = name();
    let leased = {
        let mut leased =
            pin!(scene.leases.lease_lock(&mut scene.holder, &name, TTL, pending::<Infallible>()));
        assert!(leased.as_mut().now_or_never().is_none());
        scene.commits.recv().await.unwrap().send(Ok(())).unwrap();
        leased.await
    };
    let Ok(Ok(LeaseLockAnswer::Leased(token, delivery))) = leased else { panic!("no lease") };
    delivery.done();
    drop(delivery);
    assert!(scene.holder.token(&name).is_none() && !try_lock(&mut scene.other));
    let left = scene.leases.remaining(&token.key(), &name, Principal::ALL).await.unwrap();
    assert!(left <= TTL && scene.leases.all_stored());
}

#[tokio::test(start_paused = true)]
async fn store_that_refuses_leaves_the_hold() {
    let mut scene = Scene::new();
    let (name, token) = (name(), scene.holder.token(&name()));
    let refused = {
        let mut leased =
            pin!(scene.leases.lease_lock(&mut scene.holder, &name, TTL, pending::<Infallible>()));
        assert!(leased.as_mut().now_or_never().is_none());
        let full = CommitError::Unknown(io::ErrorKind::StorageFull.into());
        scene.commits.recv().await.unwrap().send(Err(full)).unwrap();
        leased.await.unwrap().err()
    };
    assert_eq!(refused, Some(Error::LeaseNotWritten));
    assert_eq!((scene.holder.token(&name), scene.leases.count()), (token, 0));
    // It is held as often as before, and by nobody else.
    for free in [false, true] {
        assert!(!try_lock(&mut scene.other));
        assert_eq!(scene.holder.release(&name), Ok(ReleaseAnswer::Released));
        assert_eq!(scene.leases.service().is_free(&name), free);
    }
}

#[tokio::test(start_paused = true)]
async fn lock_of_an_abandoned_request_waits_for_its_deletion() {
    let mut scene = Scene::new();
    let name = name();
    let written = {
        let mut leased =
            pin!(scene.leases.lease_lock(&mut scene.holder, &name, TTL, pending::<Infallible>()));
        assert!(leased.as_mut().now_or_never().is_none());
        scene.commits.recv().await.unwrap()
    };
    written.send(Ok(())).unwrap();
    let deleted = scene.commits.recv().await.unwrap();
    assert!(!try_lock(&mut scene.other), "the store may have the lease");
    deleted.send(Ok(())).unwrap();
    scene.leases.tasks().close();
    scene.leases.tasks().wait().await;
    assert!(try_lock(&mut scene.other));
}

#[tokio::test(start_paused = true)]
async fn kill_of_the_client_waits_for_the_deletion() {
    let mut scene = Scene::new();
    let (name, killed) = (name(), CancellationToken::new());
    let mut leased =
        pin!(scene.leases.lease_lock(&mut scene.holder, &name, TTL, killed.clone().cancelled_owned()));
    assert!(leased.as_mut().now_or_never().is_none());
    let written = scene.commits.recv().await.unwrap();
    killed.cancel();
    written.send(Ok(())).unwrap();
    let deleted = tokio::select! {
        deleted = scene.commits.recv() => deleted.unwrap(),
        _ = leased.as_mut() => unreachable!("the store may have the lease"),
    };
    assert!(leased.as_mut().now_or_never().is_none() && !try_lock(&mut scene.other));
    deleted.send(Ok(())).unwrap();
    assert!(leased.await.is_err());
    assert!(try_lock(&mut scene.other));
}
