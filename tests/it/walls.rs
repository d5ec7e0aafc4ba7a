//! Who may know of whom: the walls of the house.

use std::{fs, path::Path};

/// Every source file below a folder, as path and text without comments.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(sources(&entry));
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
            files.push((entry.display().to_string(), code.join("\n")));
        }
    }
    files
}

fn src() -> Vec<(String, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn assert_none_names(part: &str, forbidden: &[&str]) {
    let files: Vec<_> = src().into_iter().filter(|(path, _)| path.contains(part)).collect();
    assert!(!files.is_empty(), "no file is in {part}");
    for (path, code) in files {
        for word in forbidden {
            assert!(!code.contains(word), "{path} names {word}");
        }
    }
}

#[test]
fn the_table_knows_no_socket_no_command_and_no_wire() {
    let forbidden = [
        "tokio::net",
        "tokio::io",
        "crate::command",
        "crate::session",
        "crate::line",
        "crate::net",
        "tracing",
    ];
    assert_none_names("/src/core/lock", &forbidden);
}

/// Nothing is decided by what is counted: it could be left out.
#[test]
fn what_is_counted_is_read_by_lists_and_metrics_alone() {
    assert_none_names("/src/core/lock", &["crate::tally", "crate::metrics"]);
    assert_none_names("/src/core/stats", &["crate::session", "crate::metrics", "crate::net", "tokio::"]);
    assert_eq!(naming("crate::metrics"), ["http/metrics.rs"]);
}

#[test]
fn sessions_know_no_bytes_and_no_sockets() {
    assert_none_names("/src/core/session", &["tokio::net", "tokio::io", "bytes::", "line::", "crate::net"]);
}

#[test]
fn sockets_know_no_commands() {
    assert_none_names("/src/net/", &["crate::command", "crate::session", "crate::line", "crate::lock"]);
}

#[test]
fn the_codec_knows_no_socket() {
    for pure in ["/src/wires/line/codec.rs", "/src/wires/line/encode.rs", "/src/wires/line/request.rs"] {
        assert_none_names(pure, &["tokio::net", "tokio::io", "Burst"]);
    }
}

#[test]
fn sql_and_packets_know_no_socket_and_no_session() {
    let forbidden = ["tokio::net", "tokio::io", "crate::net", "crate::session", "Burst"];
    for pure in
        ["sql/", "packet.rs", "login.rs", "result.rs", "prepared.rs", "value.rs", "variables.rs", "work.rs"]
    {
        assert_none_names(&format!("/src/wires/mysql/{pure}"), &forbidden);
    }
}

#[test]
fn what_is_charged_is_not_known_to_the_budget() {
    assert_none_names("/src/core/budget.rs", &["crate::", "tokio", "bytes::"]);
}

#[test]
fn leases_know_no_wire() {
    let forbidden = ["axum", "tonic", "hyper", "tokio::net", "crate::net", "crate::http", "crate::grpc"];
    assert_none_names("/src/core/lease", &forbidden);
}

#[test]
fn wires_do_not_know_each_other() {
    let wires = ["line", "mysql", "http", "grpc", "others"];
    for wire in wires {
        let others = wires.iter().filter(|other| **other != wire).map(|other| format!("crate::{other}"));
        let others: Vec<_> = others.collect();
        assert_none_names(&format!("/src/{wire}"), &others.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// The source files that name a word, without the path to them.
fn naming(word: &str) -> Vec<String> {
    let naming = src().into_iter().filter(|(_, code)| code.contains(word));
    let mut files: Vec<_> = naming.map(|(path, _)| path.rsplit_once("/src/").unwrap().1.to_owned()).collect();
    files.sort();
    files
}

#[test]
fn dashmap_is_named_by_one_module_and_used_by_the_table_alone() {
    assert_eq!(naming("dashmap"), ["sync.rs", "sync/shuttled.rs"]);
    assert_eq!(naming("DashMap"), ["lock/table.rs", "sync.rs", "sync/shuttled.rs"]);
}

/// Else the lock order would not be checked there. The pool is the client's, which has no part of the server.
#[test]
fn every_mutex_has_a_rank() {
    assert_eq!(naming("PoisonError"), ["client/pool.rs", "sync/guarded.rs"]);
}

/// Else `tests/shuttle` would not decide who goes on there.
#[test]
fn locks_and_sessions_share_by_nothing_that_shuttle_does_not_see() {
    let unseen = [
        "tokio::sync",
        "tokio::time::sleep",
        "tokio::spawn",
        "std::thread",
        "atomic::",
        "atomic_waker",
        "sync::Mutex",
        "sync::{Mutex",
        "RwLock",
        "Condvar",
        "OnceLock",
    ];
    assert_none_names("/src/core/lock", &unseen);
    assert_none_names("/src/core/session", &unseen);
}

#[test]
fn files_can_be_read_at_one_sitting() {
    for (path, _) in src().into_iter().filter(|(path, _)| !path.contains("/generated/")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 400, "{path} has {lines} lines");
    }
}
