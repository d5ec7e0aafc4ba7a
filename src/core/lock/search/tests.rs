use std::sync::Arc;

use super::*;
use crate::core::lock::{
    Acquire, Mode, OnBusy, Owner, PIECE, Verdict, Wait, request::Request, table::Queued, wait::Asked,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An owner that holds a lock of its own, `own<id>`.
fn owner(id: u32, table: &Arc<Table>) -> Owner {
    let mut owner = Owner::new(SessionId(id), table.clone());
    assert!(matches!(owner.take(own(id), Mode::Exclusive, OnBusy::Try), Acquire::Granted(_)));
    owner
}

fn own(id: u32) -> Name {
    name(&format!("own{id}"))
}

/// Waits, for as long as the test lives.
fn waits(owner: Owner, name: &Name) {
    let owner = Box::leak(Box::new(owner));
    let taken = owner.take(name.clone(), Mode::Exclusive, OnBusy::Queue);
    let Acquire::Queued(wait) = taken else { panic!("{taken:?}") };
    std::mem::forget(wait);
}

/// Asks, and looks to the end: how many holders were looked at in each piece, and what was found.
fn searched(asker: &mut Owner, wanted: &Name) -> (Vec<usize>, Found) {
    let request = Request { session: asker.id(), mode: Mode::Exclusive, upgrade: false };
    let table = asker.table().clone();
    let answer = table.take(wanted, request, OnBusy::Queue, false);
    let Acquire::Queued(Queued { position, verdict: _verdict, .. }) = answer else { panic!("{answer:?}") };
    let mut pieces = Vec::new();
    let Some(mut search) = asker.search(&Asked::One(wanted.clone(), request), position) else {
        return (pieces, Found::NoCycle);
    };
    let found = loop {
        let before = search.looks;
        let found = search.go_on(&table, PIECE, |name| asker.has(name));
        pieces.push(search.looks - before);
        if found != Found::Nothing {
            break found;
        }
    };
    assert!(search.most_looks <= MAX_LOOKS, "{} under one guard", search.most_looks);
    table.leave(wanted, request);
    (pieces, found)
}

fn assert_pieces(pieces: &[usize], looks: usize) {
    assert!(pieces.iter().all(|piece| *piece <= PIECE), "{pieces:?}");
    assert_eq!(pieces.iter().sum::<usize>(), looks);
}

/// A lock that so many share, each of whom waits for nothing.
fn shared_by(count: u32, table: &Arc<Table>) -> (Name, Vec<Owner>) {
    let big = name("big");
    let share = |id| {
        let mut owner = Owner::new(SessionId(id), table.clone());
        assert!(matches!(owner.take(big.clone(), Mode::Shared, OnBusy::Try), Acquire::Granted(_)));
        owner
    };
    (big.clone(), (1..=count).map(share).collect())
}

#[test]
fn deadlock_search_skips_owners_without_waiters() {
    let table = Arc::default();
    let (big, _holders) = shared_by(50_000, &table);
    let (pieces, found) = searched(&mut owner(60_000, &table), &big);
    assert_eq!((pieces.len(), found), (0, Found::NoCycle));
    let mut nobody = Owner::new(SessionId(60_001), table.clone());
    assert!(matches!(nobody.take(big, Mode::Exclusive, OnBusy::Queue), Acquire::Queued(_)));
}

#[test]
fn many_holders_are_searched_in_batches() {
    let table = Arc::default();
    let (big, _holders) = shared_by(50_000, &table);
    let mut asker = owner(60_000, &table);
    waits(owner(60_001, &table), &own(60_000));
    let (pieces, found) = searched(&mut asker, &big);
    assert_pieces(&pieces, 50_000);
    assert_eq!(found, Found::NoCycle);
}

/// Each of so many waits for the one before it, and nobody for the last.
fn chain(length: u32, table: &Arc<Table>) -> Owner {
    let first = owner(1, table);
    (2..=length).for_each(|id| waits(owner(id, table), &own(id - 1)));
    first
}

#[test]
fn long_chain_is_searched_in_batches() {
    const LENGTH: u32 = 10_000;
    let table = Arc::default();
    let mut first = chain(LENGTH, &table);
    let (pieces, found) = searched(&mut owner(LENGTH + 1, &table), &own(LENGTH));
    assert_eq!((pieces.len(), found), (0, Found::NoCycle), "nobody waits for it");
    // The first would close a cycle of them all.
    let (pieces, found) = searched(&mut first, &own(LENGTH));
    assert_pieces(&pieces, LENGTH as usize - 1);
    let Found::Cycle(Cycle { links, length }) = found else { panic!("{found:?}") };
    assert_eq!((links.len(), length), (MAX_CYCLE_LINKS, LENGTH as usize));
    let ids = |link: &Link| (link.waiter.0, link.name.clone(), link.holder.0);
    assert_eq!(ids(&links[0]), (1, own(LENGTH), LENGTH));
    assert_eq!(ids(&links[1]), (LENGTH, own(LENGTH - 1), LENGTH - 1));
}

fn queued<'a>(taken: Acquire<Wait<'a>>, why: &str) -> Wait<'a> {
    let Acquire::Queued(wait) = taken else { panic!("{why}: {taken:?}") };
    wait
}

/// Of three one shares a lock and waits for the last. The others are to wait: `c` for `b`, and `b` for the lock.
fn three_around_a_lock(table: &Arc<Table>) -> (Owner, Owner) {
    let (mut h, b, c) = (owner(2_001, table), owner(2_002, table), owner(2_003, table));
    assert!(matches!(h.take(name("big"), Mode::Shared, OnBusy::Try), Acquire::Granted(_)));
    waits(h, &own(2_003));
    (b, c)
}

#[tokio::test]
async fn wait_behind_a_refused_wait_is_no_deadlock() {
    let table = Arc::default();
    // The first of a long chain would close a cycle of them all; that is not found at a first look.
    let mut first = chain(300, &table);
    let big = name("big");
    let (mut b, c) = three_around_a_lock(&table);
    let mut last = Owner::new(SessionId(1_001), table.clone());
    assert!(matches!(last.take(big.clone(), Mode::Shared, OnBusy::Try), Acquire::Granted(_)));
    waits(last, &own(300));
    let mut alone = queued(first.take(big.clone(), Mode::Exclusive, OnBusy::Queue), "its search is open");
    waits(c, &own(2_002));
    let mut shared = queued(b.take(big.clone(), Mode::Shared, OnBusy::Queue), "it is not known yet");
    let (verdict, granted) = tokio::join!(alone.verdict(), async {
        let verdict = shared.verdict().await;
        matches!(verdict, Verdict::Granted(_))
    });
    assert!(matches!(verdict, Verdict::Deadlock(_)), "{verdict:?}");
    // It is granted as soon as nobody stands ahead of it: nothing that it waited for was there to stay.
    assert!(granted);
}

#[tokio::test]
async fn wait_behind_a_lasting_wait_is_a_deadlock() {
    let table = Arc::<Table>::default();
    let big = name("big");
    let mut nobody = Owner::new(SessionId(1), table.clone());
    let (mut b, c) = three_around_a_lock(&table);
    let _alone = queued(nobody.take(big.clone(), Mode::Exclusive, OnBusy::Queue), "it closes no cycle");
    waits(c, &own(2_002));
    let taken = b.take(big, Mode::Shared, OnBusy::Queue);
    let Acquire::Deadlock(cycle) = taken else { panic!("{taken:?}") };
    assert_eq!(cycle.length, 3);
}

#[tokio::test]
async fn long_deadlock_searches_run_in_turn() {
    let table = Arc::default();
    let mut first = chain(2_000, &table);
    let turn = table.search_turn().await;
    let mut wait = queued(first.take(own(2_000), Mode::Exclusive, OnBusy::Queue), "it is long");
    let still = tokio::time::timeout(std::time::Duration::from_millis(1), wait.verdict()).await;
    assert!(still.is_err(), "it waits for its turn");
    assert_eq!(wait.search_size(), 1);
    drop(turn);
    assert!(matches!(wait.verdict().await, Verdict::Deadlock(_)));
    assert!(table.search_turn().await.is_some(), "and gives it back");
}

#[tokio::test]
async fn late_found_deadlock_ends_the_wait() {
    let table = Arc::default();
    let mut first = chain(1_000, &table);
    let taken = first.take(own(1_000), Mode::Exclusive, OnBusy::Queue);
    let Acquire::Queued(mut wait) = taken else { panic!("{taken:?}") };
    let verdict = wait.verdict().await;
    drop(wait);
    let Verdict::Deadlock(cycle) = verdict else { panic!("{verdict:?}") };
    assert_eq!((cycle.links.len(), cycle.length), (MAX_CYCLE_LINKS, 1_000));
    assert_eq!((table.queue_of(&own(1_000)).0, table.counters().deadlocks), (0, 1));
}
