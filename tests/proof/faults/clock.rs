//! The clock on the wall is set forward and back while leases run: they go by their own time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use super::report;
use crate::{
    MACHINE,
    common::{
        Client,
        http::{get, post},
        program::{PROGRAM, Program},
        skip::skip_missing,
    },
};

const TTL: Duration = Duration::from_millis(1_500);

/// Where Debian's package libfaketime puts it.
pub fn libfaketime() -> Option<PathBuf> {
    let below = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    below.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// A server whose clock is off by what stands in a file.
fn with_clock(lib: &Path, clock: &Path, flags: &[&str]) -> Program {
    let mut command = Command::new(PROGRAM);
    command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "127.0.0.1:0"]).args(flags);
    set_clock(&mut command, lib, clock);
    Program::spawn(&mut command)
}

/// Its clock, and no other, is off by what stands in a file.
pub fn set_clock(command: &mut Command, lib: &Path, clock: &Path) {
    command.env("LD_PRELOAD", lib).env("FAKETIME_TIMESTAMP_FILE", clock).env("FAKETIME_NO_CACHE", "1");
    // Its newer name and its older one.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
}

fn today(days: i64) -> String {
    let date = time::OffsetDateTime::from(SystemTime::now()) + time::Duration::days(days);
    date.date().to_string()
}

fn is_of_day(moment: &Value, days: i64) -> bool {
    moment.as_str().unwrap().starts_with(&today(days))
}

#[tokio::test]
async fn lease_ignores_changes_of_the_wall_clock() {
    let Some(lib) = libfaketime() else {
        return skip_missing("libfaketime");
    };
    let _no_load = MACHINE.read().await;
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    fs::write(&clock, "+0d").unwrap();
    let mut program = with_clock(&lib, &clock, &[]);
    let (http, mut last_token) = (program.next_addr(), 0);
    for (offset, days) in [("+1d", 1), ("-1d", -1), ("+0d", 0)] {
        let since = Instant::now();
        let wish = json!({"resourceName": "nightly", "ttlMs": TTL.as_millis()});
        let (_, lease) = post(http, "/api/lock/acquire", &wish).await;
        let taken = Instant::now();
        let mut next = Client::connect(program.addr).await;
        next.send("GET_LOCK nightly 20").await;

        fs::write(&clock, offset).unwrap();
        let status: Value = serde_json::from_str(&get(http, "/api/lock/status/nightly").await.1).unwrap();
        assert!(is_of_day(&status["expiresAt"], days), "the clock of the server is not set: {status}");
        assert_eq!(next.line().await, "1");
        assert!(since.elapsed() >= TTL, "it ended too early");
        let late = taken.elapsed().saturating_sub(TTL);
        assert!(late < TTL, "it ended too late");
        report(&format!("clock set to {offset} during a lease; late by"), "HTTP", vec![late]);

        let tokens = [lease["fencingToken"].as_u64(), next.ask("FENCING_TOKEN nightly").await.parse().ok()];
        for token in tokens.map(Option::unwrap) {
            assert!(token > last_token, "{token} after {last_token}");
            last_token = token;
        }
        assert_eq!(next.ask("RELEASE_LOCK nightly").await, "1");
    }
}

/// More than a store lets tokens run ahead, and much less than the clock is set forward.
const FAR: u64 = 1 << 31;

#[tokio::test]
async fn fencing_tokens_go_on_over_restarts_with_a_wrong_clock() {
    let Some(lib) = libfaketime() else {
        return skip_missing("libfaketime");
    };
    let _no_load = MACHINE.read().await;
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (dir.path().join("clock"), dir.path().join("leases"));
    let flags = ["--store-anyway", "--store", store.to_str().unwrap()];
    let mut last_token = None;
    for (offset, signal) in [
        ("+0d", "-TERM"),
        ("-1d", "-KILL"),
        ("-1d", "-TERM"),
        ("+730d", "-KILL"),
        ("+730d", "-TERM"),
        ("+0d", "-TERM"),
    ] {
        fs::write(&clock, offset).unwrap();
        let program = with_clock(&lib, &clock, &flags);
        let mut client = Client::connect(program.addr).await;
        assert_eq!(client.ask("GET_LOCK nightly 0").await, "1");
        let token: u64 = client.ask("FENCING_TOKEN nightly").await.parse().unwrap();
        if let Some(last) = last_token {
            assert!(token > last, "{offset}: {token} after {last}");
            assert!(token - last < FAR, "{offset}: the clock is not believed: {token} after {last}");
        }
        last_token = Some(token);
        drop(client);
        program.signal(signal);
        program.wait();
    }
}
