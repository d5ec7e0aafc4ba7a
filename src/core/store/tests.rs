//! A writer before a store that does as it is told.

use std::{collections::BTreeMap, io, sync::Mutex};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::{core::client_info::Wire, name::Name};

/// What a store is asked to do, and where its answer goes.
struct Asked {
    what: What,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

#[derive(Debug, PartialEq)]
enum What {
    /// Puts with their time to live in seconds, deletes, and the floor of tokens if it moves.
    Commit(BTreeMap<String, Option<u64>>, Option<u64>),
    Replace(BTreeMap<String, Option<u64>>),
    Close {
        last: u64,
        is_quiet: bool,
    },
}

#[derive(Debug)]
struct Scripted(mpsc::UnboundedSender<Asked>);

impl Scripted {
    fn ask(&self, what: What) -> BoxFuture<'_, Result<(), CommitError>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { what, answer }).ok().unwrap();
        async { answered.await.unwrap() }.boxed()
    }
}

impl Store for Scripted {
    fn commit(&self, Batch { changes, floors }: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        let changes = changes.into_iter().map(|(key, change)| match change {
            LeaseChange::Put(lease) => (lease.names.first().to_string(), Some(lease.ttl.as_secs())),
            LeaseChange::Delete => {
                (NAMES.into_iter().find(|name| key_of(name) == key).unwrap().to_owned(), None)
            }
        });
        self.ask(What::Commit(changes.collect(), floors.map(|floors| floors.token)))
    }

    fn replace(&self, leases: Vec<DurableLease>, _: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
        let leases =
            leases.into_iter().map(|lease| (lease.names.first().to_string(), Some(lease.ttl.as_secs())));
        self.ask(What::Replace(leases.collect()))
    }

    fn close(&self, last: Floors, is_quiet: bool) -> BoxFuture<'_, Result<(), CommitError>> {
        self.ask(What::Close { last: last.token, is_quiet })
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn key_of(name: &str) -> Key {
    Key::of("token", &[name])
}

pub(crate) fn lease(name: &str, ttl: u64) -> DurableLease {
    DurableLease {
        key: key_of(name),
        names: Name::new(name).unwrap().into(),
        mode: Mode::Exclusive,
        token: 1,
        ttl: Duration::from_secs(ttl),
        session: SessionId(1),
        origin: Origin { wire: Wire::Http, peer: ([127, 0, 0, 1], 1).into() },
        user: None,
        client: String::new(),
        note: None,
        granted_ms: 0,
        ends: None,
    }
}

/// A writer, what its store is asked, and the token that was given last.
struct Scene {
    writer: Arc<StoreWriter>,
    asked: mpsc::UnboundedReceiver<Asked>,
    last: Arc<Mutex<u64>>,
}

impl Scene {
    fn new() -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let last = Arc::new(Mutex::new(1));
        let (writer, given) = (StoreWriter::new([], Floors { token: 1, session: 0 }.ahead()), last.clone());
        let numbers = move || Floors { token: *given.lock().unwrap(), session: 0 };
        tokio::spawn(writer.clone().run(Arc::new(Scripted(sender)), Arc::new(numbers)));
        Self { writer, asked, last }
    }

    /// The store is asked for that; its answer is to come.
    async fn is_asked(&mut self, what: What) -> oneshot::Sender<Result<(), CommitError>> {
        let asked = self.asked.recv().await.unwrap();
        assert_eq!(asked.what, what);
        asked.answer
    }
}

fn commit<const N: usize>(changes: [(&str, Option<u64>); N]) -> What {
    What::Commit(changes.into_iter().map(|(name, ttl)| (name.to_owned(), ttl)).collect(), None)
}

fn full_disk() -> CommitError {
    CommitError::Unknown(io::ErrorKind::StorageFull.into())
}

#[tokio::test(start_paused = true)]
async fn changes_that_come_during_a_commit_share_a_batch() {
    let mut scene = Scene::new();
    let mut first = scene.writer.put(lease("a", 10));
    let answer = scene.is_asked(commit([("a", Some(10))])).await;
    let others = [lease("b", 10), lease("c", 10), lease("b", 20)].map(|lease| scene.writer.put(lease));
    let deleted = scene.writer.delete(key_of("c"));
    assert_eq!((&mut first).now_or_never(), None, "nothing is said before it is written");
    answer.send(Ok(())).unwrap();
    assert_eq!(first.await, Ok(()));
    let answer = scene.is_asked(commit([("b", Some(20)), ("c", None)])).await;
    answer.send(Ok(())).unwrap();
    for written in others.into_iter().chain([deleted]) {
        assert_eq!(written.await, Ok(()));
    }
    assert_eq!(scene.writer.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn failed_commit_refuses_leases_and_keeps_deletes_waiting() {
    let mut scene = Scene::new();
    for name in ["a", "b"] {
        let written = scene.writer.put(lease(name, 10));
        scene.is_asked(commit([(name, Some(10))])).await.send(Ok(())).unwrap();
        assert_eq!(written.await, Ok(()));
    }
    let (longer, new) = (scene.writer.put(lease("a", 20)), scene.writer.put(lease("c", 10)));
    let mut deleted = scene.writer.delete(key_of("b"));
    let answer = scene.is_asked(commit([("a", Some(20)), ("b", None), ("c", Some(10))])).await;
    let queued = scene.writer.put(lease("a", 30));
    answer.send(Err(full_disk())).unwrap();
    for refused in [longer, new, queued] {
        assert_eq!(refused.await, Err(NotWritten::Failing));
    }
    assert_eq!(scene.writer.put(lease("d", 10)).await, Err(NotWritten::Failing));
    scene.writer.failed().await;
    // "a" is what it was before, and nobody was told of "c".
    let whole = || What::Replace([("a".to_owned(), Some(10))].into());
    scene.is_asked(whole()).await.send(Err(full_disk())).unwrap();
    assert_eq!((&mut deleted).now_or_never(), None, "a lock does not pass on before its lease is deleted");
    scene.is_asked(whole()).await.send(Ok(())).unwrap();
    assert_eq!(deleted.await, Ok(()));
    let written = scene.writer.put(lease("d", 10));
    scene.is_asked(commit([("d", Some(10))])).await.send(Ok(())).unwrap();
    assert_eq!(written.await, Ok(()));
    assert_eq!(scene.writer.stats().errors(), 2);
}

#[tokio::test(start_paused = true)]
async fn report_has_the_start_of_a_failure() {
    let mut scene = Scene::new();
    let written = scene.writer.put(lease("a", 10));
    scene.is_asked(commit([("a", Some(10))])).await.send(Ok(())).unwrap();
    assert_eq!(written.await, Ok(()));
    let report = scene.writer.report();
    assert_eq!((report.is_good, report.failing_since, report.commits, report.changes), (true, None, 1, 1));

    let refused = scene.writer.put(lease("b", 10));
    scene.is_asked(commit([("b", Some(10))])).await.send(Err(full_disk())).unwrap();
    assert_eq!(refused.await, Err(NotWritten::Failing));
    let since = tokio::time::Instant::now();
    let answer = scene.is_asked(What::Replace([("a".to_owned(), Some(10))].into())).await;
    let report = scene.writer.report();
    assert_eq!((report.is_good, report.failing_since, report.commits), (false, Some(since), 1));
    answer.send(Ok(())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn closed_writer_takes_no_more_and_closes_the_store() {
    let mut scene = Scene::new();
    let written = scene.writer.put(lease("a", 10));
    scene.writer.close(false);
    assert_eq!(scene.writer.put(lease("b", 10)).await, Err(NotWritten::Closed));
    assert_eq!(scene.writer.delete(key_of("a")).await, Err(NotWritten::Closed));
    scene.is_asked(commit([("a", Some(10))])).await.send(Ok(())).unwrap();
    assert_eq!(written.await, Ok(()));
    scene.is_asked(What::Close { last: 1, is_quiet: false }).await.send(Ok(())).unwrap();
    scene.writer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn store_of_another_server_refuses_everything() {
    let mut scene = Scene::new();
    let (put, deleted) = (scene.writer.put(lease("a", 10)), scene.writer.delete(key_of("b")));
    let answer = scene.is_asked(commit([("a", Some(10)), ("b", None)])).await;
    answer.send(Err(CommitError::Lost)).unwrap();
    assert_eq!((put.await, deleted.await), (Err(NotWritten::Closed), Err(NotWritten::Closed)));
    assert_eq!(scene.writer.delete(key_of("c")).await, Err(NotWritten::Closed));
}

#[tokio::test(start_paused = true)]
async fn floors_move_when_half_is_given() {
    let mut scene = Scene::new();
    let before = scene.writer.token_ceiling();
    *scene.last.lock().unwrap() = before / 2 + 10;
    scene.writer.look();
    let moved = before / 2 + 10 + before - 1;
    let answer = scene.is_asked(What::Commit(BTreeMap::new(), Some(moved))).await;
    assert_eq!(scene.writer.token_ceiling(), before, "not before it is written");
    answer.send(Ok(())).unwrap();
    let written = scene.writer.put(lease("a", 10));
    scene.is_asked(commit([("a", Some(10))])).await.send(Ok(())).unwrap();
    assert_eq!(written.await, Ok(()));
    assert_eq!(scene.writer.token_ceiling(), moved);
}
