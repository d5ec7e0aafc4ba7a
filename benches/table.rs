//! The lock table: what one operation costs, alone and beside others.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use getlockd::{
    internal::lock::{Acquire, Mode, OnBusy, Owner, SessionId, Table, Wait},
    name::Name,
};

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn owner(id: u32, table: &Arc<Table>) -> Owner {
    Owner::new(SessionId(id), table.clone())
}

/// Takes and frees one name again and again; the time for it.
fn pairs(owner: &mut Owner, name: &Name, count: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        black_box(owner.take(name.clone(), Mode::Exclusive, OnBusy::Try));
        black_box(owner.release(name));
    }
    start.elapsed()
}

fn acquire_and_release(c: &mut Criterion) {
    let mut group = c.benchmark_group("acquire and release");
    for threads in [1, 2] {
        let table = Arc::new(Table::default());
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            b.iter_custom(|count| {
                std::thread::scope(|scope| {
                    let work = |id| {
                        let mut owner = owner(id, &table);
                        scope.spawn(move || pairs(&mut owner, &name(&format!("own{id}")), count))
                    };
                    let working: Vec<_> = (1..=threads).map(work).collect();
                    working.into_iter().map(|work| work.join().expect("no panic")).max().unwrap_or_default()
                })
            });
        });
    }
    group.finish();
}

fn acquire_among_many(c: &mut Criterion) {
    let mut group = c.benchmark_group("acquire and release among held locks");
    for held in [1_000, 1_000_000] {
        let table = Arc::new(Table::default());
        let mut others = owner(1, &table);
        for i in 0..held {
            others.take(name(&format!("held{i}")), Mode::Exclusive, OnBusy::Try);
        }
        let mut mine = owner(2, &table);
        group.bench_function(BenchmarkId::from_parameter(held), |b| {
            b.iter_custom(|count| pairs(&mut mine, &name("mine"), count));
        });
    }
    group.finish();
}

fn queued(taken: Acquire<Wait<'_>>) -> Wait<'_> {
    match taken {
        Acquire::Queued(wait) => wait,
        other => unreachable!("{other:?}"),
    }
}

fn hand_over(c: &mut Criterion) {
    let table = Arc::new(Table::default());
    let (mut holder, mut waiter) = (owner(1, &table), owner(2, &table));
    let name = name("contended");
    holder.take(name.clone(), Mode::Exclusive, OnBusy::Try);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    c.bench_function("queue and hand over", |b| {
        b.iter(|| {
            let mut wait = queued(waiter.take(name.clone(), Mode::Exclusive, OnBusy::Queue));
            holder.release(&name);
            black_box(runtime.block_on(wait.verdict()));
            drop(wait);
            std::mem::swap(&mut holder, &mut waiter);
        });
    });
}

/// Owner `i` holds lock `i` and waits for lock `i - 1`; the first waits for nothing.
fn chain(table: &Arc<Table>, length: u32) -> (Owner, Vec<Wait<'static>>) {
    let mut first = owner(1, table);
    first.take(name("lock1"), Mode::Exclusive, OnBusy::Try);
    let link = |i: u32| {
        // Leaked: a wait borrows its owner, and a benchmark is over soon.
        let owner = Box::leak(Box::new(owner(i, table)));
        owner.take(name(&format!("lock{i}")), Mode::Exclusive, OnBusy::Try);
        queued(owner.take(name(&format!("lock{}", i - 1)), Mode::Exclusive, OnBusy::Queue))
    };
    let waits = (2..=length).map(link).collect();
    (first, waits)
}

fn deadlock_check(c: &mut Criterion) {
    let mut group = c.benchmark_group("deadlock check by chain length");
    // Longer ones are followed in pieces.
    for length in [1, 10, 100] {
        let table = Arc::new(Table::default());
        let (mut first, _waits) = chain(&table, length);
        let end = name(&format!("lock{length}"));
        let mut outsider = owner(u32::MAX, &table);
        outsider.take(name("own"), Mode::Exclusive, OnBusy::Try);
        // Nobody follows a chain for one who is waited for by nobody.
        let mut behind = owner(u32::MAX - 1, &table);
        let _behind = queued(behind.take(name("own"), Mode::Exclusive, OnBusy::Queue));
        group.throughput(Throughput::Elements(length.into()));
        group.bench_function(BenchmarkId::new("no cycle", length), |b| {
            b.iter(|| queued(outsider.take(end.clone(), Mode::Exclusive, OnBusy::Queue)).give_up());
        });
        if length > 1 {
            group.bench_function(BenchmarkId::new("cycle", length), |b| {
                b.iter(|| {
                    matches!(first.take(end.clone(), Mode::Exclusive, OnBusy::Queue), Acquire::Deadlock(_))
                });
            });
        }
    }
    group.finish();
}

fn end_of_session(c: &mut Criterion) {
    let mut group = c.benchmark_group("end of a session by locks held");
    let table = Arc::new(Table::default());
    for holds in [1, 100, 10_000, 100_000] {
        let full = || {
            let mut owner = owner(1, &table);
            for i in 0..holds {
                owner.take(name(&format!("held{i}")), Mode::Exclusive, OnBusy::Try);
            }
            owner
        };
        group.throughput(Throughput::Elements(holds));
        group.bench_function(BenchmarkId::from_parameter(holds), |b| {
            b.iter_batched(full, drop, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn folding(c: &mut Criterion) {
    let mut group = c.benchmark_group("name");
    for text in ["nightly", "Nightly", "app1:reports/2026-11-20/eu-central", "Überprüfung"] {
        group.bench_function(text, |b| b.iter(|| Name::new(black_box(text))));
    }
    group.finish();
}

criterion_group!(
    benches,
    acquire_and_release,
    acquire_among_many,
    hand_over,
    deadlock_check,
    end_of_session,
    folding
);
criterion_main!(benches);
