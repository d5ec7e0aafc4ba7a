//! What a store has, for people.

use std::{fmt::Write, time::Duration};

use getlockd_proto::escape::Visible;
use serde_json::Value;

/// The columns: their heads, their fields, and whether the column is left out if no lease has that.
const COLUMNS: [(&str, &str, bool); 13] = [
    ("NAME", "name", false),
    ("OTHER NAMES", "otherNames", true),
    ("MODE", "mode", false),
    ("LIMIT", "limit", true),
    ("FENCING TOKEN", "fencingToken", false),
    ("SESSION", "session", false),
    ("CLIENT", "client", true),
    ("USER", "user", true),
    ("PEER", "peer", false),
    ("ACQUIRED", "acquiredAt", false),
    ("TTL", "ttlMs", false),
    ("EXPIRES", "expiresAt", true),
    ("NOTE", "note", true),
];

/// The leases in a table, and behind it how the store is.
pub(super) fn of(contents: &Value) -> String {
    let leases = contents["leases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = if leases.is_empty() { String::new() } else { table(leases) + "\n" };
    // Nothing goes wrong when a String is written to.
    let _ = writeln!(text, "leases: {}", leases.len());
    if let Some(bytes) = contents["bytes"].as_u64() {
        let _ = writeln!(text, "size: {bytes} bytes");
    }
    if let Some(format) = contents["format"].as_u64() {
        let _ = writeln!(text, "format: {format}");
    }
    if let Some(clean) = contents["clean"].as_bool() {
        let _ = writeln!(text, "the last server stopped: {}", if clean { CLEAN } else { NOT_CLEAN });
        let _ = writeln!(text, "the next one waits: {}", time(&contents["graceMs"]));
    }
    if let Some(writable) = contents["writable"].as_bool() {
        let failing = |since: &str| format!("no, since {}", Visible(since));
        let not = || contents["failedAt"].as_str().map_or_else(|| "no".to_owned(), failing);
        let _ = writeln!(text, "can be written: {}", if writable { "yes".to_owned() } else { not() });
    }
    if let (Some(commits), Some(changes)) = (contents["commits"].as_u64(), contents["changes"].as_u64()) {
        let _ = writeln!(text, "commits: {commits}, of {} changes on average", average(changes, commits));
    }
    let [token, session] = ["fencingTokenFloor", "sessionFloor"].map(|floor| &contents[floor]);
    let _ = writeln!(text, "fencing tokens go on from: {token}");
    let _ = writeln!(text, "sessions go on behind: {session}");
    text
}

/// What is known of the end of a server.
const CLEAN: &str = "in good order";
const NOT_CLEAN: &str = "by a crash, or with leases that were not written";

fn average(changes: u64, commits: u64) -> String {
    let tenths = changes.saturating_mul(10) / commits.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn table(leases: &[Value]) -> String {
    let is_shown = |key: &str, is_rare: bool| !is_rare || leases.iter().any(|lease| !lease[key].is_null());
    let columns = COLUMNS.into_iter().filter(|&(_, key, is_rare)| is_shown(key, is_rare));
    let columns: Vec<Vec<String>> = columns
        .map(|(head, key, _)| {
            [head.to_owned()].into_iter().chain(leases.iter().map(|lease| cell(key, &lease[key]))).collect()
        })
        .collect();
    let width = |column: &Vec<String>| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = columns.iter().map(width).collect();
    let mut text = String::new();
    for row in 0..=leases.len() {
        let cells = columns.iter().zip(&widths).map(|(column, width)| format!("{:width$}", column[row]));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => Visible(text).to_string(),
        Value::Array(texts) => texts.iter().map(|text| cell(key, text)).collect::<Vec<_>>().join(", "),
        millis if key.ends_with("Ms") => time(millis),
        other => other.to_string(),
    }
}

fn time(millis: &Value) -> String {
    match Duration::from_millis(millis.as_u64().unwrap_or_default()) {
        Duration::ZERO => "0s".to_owned(),
        time => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lease_of_several_locks_and_of_a_permit_are_shown() {
        let text = of(&json!({
            "leases": [
                { "name": "a", "otherNames": ["b", "c\n"], "mode": "exclusive" },
                { "name": "pool", "mode": "permit", "limit": 3 },
            ],
            "fencingTokenFloor": 7, "sessionFloor": 1,
        }));
        let lines: Vec<_> = text.lines().take(3).collect();
        assert_eq!(
            lines,
            [
                "NAME  OTHER NAMES  MODE       LIMIT  FENCING TOKEN  SESSION  PEER  ACQUIRED  TTL",
                "a     b, c\\u{a}    exclusive  -      -              -        -     -         -",
                "pool  -            permit     3      -              -        -     -         -",
            ]
        );
    }

    #[test]
    fn rare_columns_and_missing_fields_are_left_out() {
        let lease = |name: &str, note: Option<&str>| json!({ "name": name, "ttlMs": 1500, "note": note });
        let text = of(&json!({
            "leases": [lease("a", None), lease("long", Some("\u{1b}[2J"))],
            "writable": false, "failedAt": "2026-11-20T09:30:00.123Z", "fencingTokenFloor": 7, "sessionFloor": 1,
        }));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "NAME  MODE  FENCING TOKEN  SESSION  PEER  ACQUIRED  TTL   NOTE",
                "a     -     -              -        -     -         1.5s  -",
                "long  -     -              -        -     -         1.5s  \\u{1b}[2J",
                "",
                "leases: 2",
                "can be written: no, since 2026-11-20T09:30:00.123Z",
                "fencing tokens go on from: 7",
                "sessions go on behind: 1",
            ]
        );
    }
}
