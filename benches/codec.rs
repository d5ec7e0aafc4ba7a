//! The line codec: bytes to a request, and a reply to bytes. And SQL of the MySQL wire, where
//! `RUSTFLAGS="--cfg fuzzing"` opens its reader.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use getlockd::internal::line::{Codec, Response};
use tokio_util::codec::{Decoder, Encoder};

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for line in [
        "PING",
        "GET_LOCK nightly 10",
        "GET_LOCK('nightly', 10)",
        "SELECT GET_LOCK('nightly', 10);",
        "SELECT RELEASE_LOCK('nightly');",
        "RELEASE_LOCK 'it''s'",
        "GET_LOKC nightly 10",
    ] {
        let mut codec = Codec::default();
        let mut input = BytesMut::new();
        group.bench_function(line, |b| {
            b.iter(|| {
                input.extend_from_slice(line.as_bytes());
                input.extend_from_slice(b"\n");
                black_box(codec.decode(&mut input))
            });
        });
    }
    group.finish();
}

fn burst(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode and encode a burst of pairs");
    for pairs in [16, 128] {
        let lines = b"GET_LOCK nightly 10\nRELEASE_LOCK nightly\n".repeat(pairs);
        let mut codec = Codec::default();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        group.throughput(Throughput::Elements(pairs as u64));
        group.bench_function(BenchmarkId::from_parameter(pairs), |b| {
            b.iter(|| {
                input.extend_from_slice(&lines);
                while let Ok(Some(request)) = codec.decode(&mut input) {
                    drop(black_box(request));
                    let one = Response::Number(Ok(Some(1)));
                    codec.encode(one, &mut output).expect("a buffer takes everything");
                }
                output.clear();
            });
        });
    }
    group.finish();
}

/// Statements, read and then evaluated with every call granted.
#[cfg(fuzzing)]
fn sql(c: &mut Criterion) {
    let mut group = c.benchmark_group("SQL read and evaluated");
    for statement in ["SELECT GET_LOCK('nightly', 10)", "SELECT RELEASE_LOCK('nightly')"] {
        // In front of it a byte of modes.
        let bytes = [b"\0", statement.as_bytes()].concat();
        group.bench_function(statement, |b| b.iter(|| getlockd::fuzz::mysql_sql(black_box(&bytes))));
    }
    group.finish();
}

#[cfg(not(fuzzing))]
fn sql(_: &mut Criterion) {}

criterion_group!(benches, decode, burst, sql);
criterion_main!(benches);
