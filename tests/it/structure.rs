//! What each part of the code may use, and what tests are called.

use std::{fs, mem, path::Path};

/// Every source file below a folder, as path and text without comments.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(sources(&entry));
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
            files.push((entry.display().to_string(), flat(&code.join("\n"))));
        }
    }
    files
}

/// The text with each `use a::{B, c::{D, E}};` written out as `a::B`, `a::c::D` and `a::c::E`.
fn flat(code: &str) -> String {
    let mut parts = code.split("use ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (tree, rest) = part.split_once(';').unwrap_or((part, ""));
        let (mut prefixes, mut word) = (Vec::new(), String::new());
        for c in tree.chars().filter(|c| !c.is_whitespace()).chain([',']) {
            match c {
                '{' => prefixes.push(mem::take(&mut word)),
                ',' | '}' => {
                    if !word.is_empty() {
                        text.extend([&prefixes.concat(), &mem::take(&mut word), ";\n"]);
                    }
                    if c == '}' {
                        prefixes.pop();
                    }
                }
                c => word.push(c),
            }
        }
        text += rest;
    }
    text
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
fn lock_table_knows_no_socket_command_or_wire() {
    let forbidden = [
        "tokio::net",
        "tokio::io",
        "crate::core::command",
        "crate::core::session",
        "crate::wires",
        "crate::net",
        "tracing",
    ];
    assert_none_names("/src/core/lock", &forbidden);
}

/// Nothing is decided by what is counted: it could be left out.
#[test]
fn stats_are_read_by_lists_and_metrics_only() {
    assert_none_names("/src/core/lock", &["crate::core::stats", "crate::ops::metrics"]);
    assert_none_names(
        "/src/core/stats",
        &["crate::core::session", "crate::ops::metrics", "crate::net", "tokio::"],
    );
    assert_eq!(
        naming("crate::ops::metrics"),
        ["internal.rs", "server/instance.rs", "server/node/view.rs", "wires/rest.rs"]
    );
}

#[test]
fn sessions_know_no_bytes_or_sockets() {
    assert_none_names("/src/core/session", &["tokio::net", "tokio::io", "bytes::", "line::", "crate::net"]);
}

#[test]
fn sockets_know_no_commands() {
    assert_none_names(
        "/src/net/",
        &["crate::core::command", "crate::core::session", "crate::wires", "crate::core::lock"],
    );
}

#[test]
fn codec_knows_no_socket() {
    for pure in
        ["codec.rs", "request.rs", "request/", "encode.rs"].map(|file| format!("/src/wires/line/{file}"))
    {
        assert_none_names(&pure, &["tokio::net", "tokio::io", "BufferedSocket"]);
    }
}

#[test]
fn sql_and_packets_know_no_socket_or_session() {
    let forbidden = ["tokio::net", "tokio::io", "crate::net", "crate::core::session", "BufferedSocket"];
    for pure in
        ["sql/", "packet.rs", "login.rs", "result.rs", "prepared.rs", "value.rs", "variables.rs", "work.rs"]
    {
        assert_none_names(&format!("/src/wires/mysql/{pure}"), &forbidden);
    }
}

#[test]
fn budget_does_not_know_what_is_charged() {
    assert_none_names("/src/core/budget.rs", &["crate::", "tokio", "bytes::"]);
}

#[test]
fn leases_know_no_wire() {
    let forbidden = ["axum", "tonic", "hyper", "tokio::net", "crate::net", "crate::wires"];
    assert_none_names("/src/core/lease", &forbidden);
}

/// The source files that name a word, without the path to them.
fn naming(word: &str) -> Vec<String> {
    let naming = src().into_iter().filter(|(_, code)| code.contains(word));
    let mut files: Vec<_> = naming.map(|(path, _)| path.rsplit_once("/src/").unwrap().1.to_owned()).collect();
    files.sort();
    files
}

/// Those that use it, or stand in for it.
const DASHMAP: [&str; 5] = [
    "core/lock/table.rs",
    "core/sync.rs",
    "core/sync/locked_keys.rs",
    "core/sync/shuttled.rs",
    "core/sync/shuttled/map.rs",
];

#[test]
fn dashmap_is_used_by_the_lock_table_only() {
    assert_eq!(naming("dashmap"), ["core/sync.rs", "core/sync/locked_keys.rs"]);
    assert_eq!(naming("DashMap"), DASHMAP);
}

/// Else the lock order would not be checked there. The pool is the client's, which has no part of the server.
#[test]
fn every_mutex_has_a_rank() {
    assert_eq!(naming("PoisonError"), ["core/sync/guarded.rs"]);
}

/// Else `tests/shuttle` would not decide who goes on there. Tokio's semaphore is an exception: it gives turns to long
/// searches for cycles, and guards nothing.
#[test]
fn shuttle_sees_all_sharing_of_locks_and_sessions() {
    let unseen = [
        "tokio::sync::Mutex",
        "tokio::sync::Notify",
        "tokio::sync::mpsc",
        "tokio::sync::oneshot",
        "tokio::sync::watch",
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

/// Words of a narrator. A name says the condition and the outcome, in the words of the protocol.
const NARRATED: [&str; 14] = [
    "who",
    "whoever",
    "whom",
    "whose",
    "he",
    "him",
    "his",
    "those",
    "one",
    "ones",
    "nobody",
    "somebody",
    "everybody",
    "whatever",
];

/// The names of the tests in a source file.
fn tests(code: &str) -> Vec<&str> {
    let (mut names, mut is_test) = (vec![], false);
    for line in code.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let name = function.and_then(|function| function.split_once('(')).map(|(name, _)| name);
        if let Some(name) = name {
            names.extend(is_test.then_some(name));
            is_test = false;
        }
    }
    names
}

#[test]
fn test_names_are_short_and_not_narrated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests", "crates"].into_iter().flat_map(|folder| sources(&root.join(folder)));
    let mut known = 0;
    for (path, code) in files {
        for name in tests(&code) {
            assert!(name.len() <= 60, "{path}: {name} is longer than 60 characters");
            let narrated = name.split('_').find(|word| NARRATED.contains(word));
            assert_eq!(narrated, None, "{path}: {name}");
            known += 1;
        }
    }
    assert!(known > 500, "only {known} tests were found");
}
