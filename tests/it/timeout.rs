//! Waits end when they should, to the millisecond of the paused clock.

use std::{sync::Arc, time::Duration};

use crate::common::session::{Answer, Command, Progress, Reply, run, start};
use getlockd::{
    internal::{
        client_info::{Origin, Wire},
        command::{EndReason, Error, Kill},
        lock::{Mode, SessionId},
        session::{Limits, LockService, Session},
    },
    name::Name,
};
use tokio::time::{Instant, sleep};

fn service() -> Arc<LockService> {
    LockService::new(Limits { locks_per_session: 10, ..Limits::default() })
}

fn open(service: &Arc<LockService>) -> Session {
    service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
}

fn get_lock(name: &str, timeout: &str) -> Command {
    Command::GetLock {
        name: Name::new(name).unwrap(),
        mode: Mode::Exclusive,
        timeout: timeout.parse().unwrap(),
    }
}

fn number(answer: &Result<Answer, EndReason>) -> u64 {
    match answer {
        Ok(Ok(Reply::Int(number))) => *number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn wait_ends_at_its_timeout_and_not_before() {
    let service = service();
    let (mut holder, mut waiter) = (open(&service), open(&service));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    for (timeout, millis) in
        [("0", 0), ("0.001", 1), ("0.25", 250), ("1.6", 1_600), ("500ms", 500), ("2m", 120_000)]
    {
        let start = Instant::now();
        assert_eq!(number(&run(&mut waiter, get_lock("x", timeout)).await), 0);
        assert_eq!(start.elapsed(), Duration::from_millis(millis), "{timeout}");
    }
    assert_eq!(service.stats().table.waiters, 0);
    assert_eq!(service.stats().timeouts, 6);
}

#[tokio::test(start_paused = true)]
async fn negative_timeout_waits_forever() {
    let service = service();
    for timeout in ["-1", "-0.4", "9223372036854775807", "1000000000000h", "876000h"] {
        let (mut holder, mut waiter) = (open(&service), open(&service));
        assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
        let waiting = tokio::spawn(async move { run(&mut waiter, get_lock("x", timeout)).await });
        sleep(Duration::from_hours(10 * 365 * 24)).await;
        assert!(!waiting.is_finished(), "{timeout}");
        drop(holder);
        assert_eq!(number(&waiting.await.unwrap()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn grant_at_the_last_moment_counts() {
    let service = service();
    let (mut holder, mut waiter) = (open(&service), open(&service));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    let Progress::Waiting(waiting) = start(&mut waiter, get_lock("x", "1")) else { panic!("it is held") };
    // Time is over and the lock is granted, both before the waiter looks.
    sleep(Duration::from_secs(2)).await;
    drop(holder);
    assert!(matches!(waiting.finish().await, Ok(Ok(Reply::Int(1)))));
    assert_eq!(number(&run(&mut waiter, Command::IsUsedLock(Name::new("x").unwrap())).await), 2);
}

#[tokio::test(start_paused = true)]
async fn wait_dropped_after_grant_passes_the_lock_on() {
    let service = service();
    let (mut holder, mut gone, mut next) = (open(&service), open(&service), open(&service));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    let Progress::Waiting(first) = start(&mut gone, get_lock("x", "-1")) else { panic!("it is held") };
    let Progress::Waiting(second) = start(&mut next, get_lock("x", "-1")) else { panic!("it is held") };
    drop(holder);
    drop(first);
    assert!(matches!(second.finish().await, Ok(Ok(Reply::Int(1)))));
    assert_eq!(number(&run(&mut gone, Command::IsUsedLock(Name::new("x").unwrap())).await), 3);
}

#[tokio::test(start_paused = true)]
async fn upgrade_dropped_after_grant_is_shared_again() {
    let service = service();
    let (mut a, mut b, mut c) = (open(&service), open(&service), open(&service));
    let shared = || Command::GetLock {
        name: Name::new("x").unwrap(),
        mode: Mode::Shared,
        timeout: "-1".parse().unwrap(),
    };
    assert_eq!(number(&run(&mut a, shared()).await), 1);
    assert_eq!(number(&run(&mut b, shared()).await), 1);
    let Progress::Waiting(upgrade) = start(&mut a, get_lock("x", "-1")) else { panic!("it is shared") };
    let Progress::Waiting(third) = start(&mut c, shared()) else { panic!("an upgrade is ahead") };
    drop(b);
    drop(upgrade);
    assert!(matches!(third.finish().await, Ok(Ok(Reply::Int(1)))), "it is shared with the third");
    assert_eq!(number(&run(&mut a, Command::ReleaseAllLocks).await), 1);
    assert_eq!(number(&run(&mut c, Command::IsUsedLock(Name::new("x").unwrap())).await), 3);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_waits_and_grants_only_held_locks() {
    let service = service();
    let (mut holder, mut waiter) = (open(&service), open(&service));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    assert!(holder.end_reason().is_none());
    let waiting = tokio::spawn(async move { run(&mut waiter, get_lock("x", "-1")).await });
    tokio::task::yield_now().await;
    service.registry().drain();
    assert!(matches!(waiting.await.unwrap(), Err(EndReason::Shutdown)), "it holds nothing");
    assert!(matches!(run(&mut holder, get_lock("y", "0")).await, Ok(Err(Error::Stopping))));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    assert!(holder.end_reason().is_none());
    assert_eq!(number(&run(&mut holder, Command::ReleaseAllLocks).await), 2);
    assert_eq!(holder.end_reason(), Some(EndReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn kill_is_not_reported_as_shutdown() {
    let service = service();
    let (mut killer, mut victim) = (open(&service), open(&service));
    let Progress::Working(killing) = start(&mut killer, Command::Kill(victim.id())) else {
        panic!("it lives")
    };
    assert_eq!(number(&run(&mut victim, get_lock("x", "0")).await), 1, "not yet looked at");
    assert_eq!(
        victim.end_reason(),
        Some(EndReason::Killed(Arc::new(Kill { by: SessionId(1), user: None, reason: None })))
    );
    drop(victim);
    assert!(matches!(killing.finish().await, Ok(Ok(Reply::Int(1)))));
}

#[tokio::test(start_paused = true)]
async fn upgrade_gets_a_new_fencing_token() {
    let service = service();
    let (mut a, mut b) = (open(&service), open(&service));
    let shared = || Command::GetLock {
        name: Name::new("x").unwrap(),
        mode: Mode::Shared,
        timeout: "0".parse().unwrap(),
    };
    let token = || Command::FencingToken(Name::new("x").unwrap());
    assert_eq!(number(&run(&mut a, shared()).await), 1);
    let first = number(&run(&mut a, token()).await);
    assert_eq!(number(&run(&mut b, shared()).await), 1);
    let others = number(&run(&mut b, token()).await);
    assert_eq!(number(&run(&mut a, shared()).await), 1);
    assert_eq!(number(&run(&mut a, token()).await), first, "taken again");

    let Progress::Waiting(upgrade) = start(&mut a, get_lock("x", "-1")) else { panic!("it is shared") };
    drop(b);
    drop(upgrade);
    let dropped = number(&run(&mut a, token()).await);
    assert!(first < others && others < dropped, "it was granted, and handed back");
    assert_eq!(number(&run(&mut a, get_lock("x", "0")).await), 1);
    assert!(number(&run(&mut a, token()).await) > dropped);
    assert_eq!(number(&run(&mut a, Command::ReleaseAllLocks).await), 3);
    assert_eq!(service.stats().table.locks, 0);
}

#[tokio::test(start_paused = true)]
async fn session_opened_during_drain_ends_at_once() {
    let service = service();
    service.registry().drain();
    assert_eq!(open(&service).end_reason(), Some(EndReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn grant_during_drain_is_declined() {
    let service = service();
    let (mut holder, mut waiter) = (open(&service), open(&service));
    assert_eq!(number(&run(&mut holder, get_lock("x", "0")).await), 1);
    let Progress::Waiting(waiting) = start(&mut waiter, get_lock("x", "-1")) else { panic!("it is held") };
    service.registry().drain();
    drop(holder);
    assert!(matches!(waiting.finish().await, Err(EndReason::Shutdown)));
    assert_eq!(service.stats().table.locks, 0);
}
