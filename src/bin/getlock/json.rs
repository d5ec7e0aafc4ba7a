//! Lists as JSON: the documents that HTTP has for them (protocol.md, part 8).

use std::time::{Duration, SystemTime};

use getlockd::{
    client::{List, Row},
    moment::rfc3339,
};
use serde_json::{Map, Value, json};

/// Fields that are numbers. A lock may be called 7.
const NUMBERS: [&str; 4] = ["fencing_token", "holds", "session", "waiters"];

/// A list, under the name that HTTP has for it.
pub(crate) fn document(what: &str, list: &List) -> String {
    let now = SystemTime::now();
    let rows: Vec<_> = list.rows.iter().map(|row| object(row, now)).collect();
    format!("{:#}", json!({ what: rows, "total": list.total }))
}

/// What is `NULL` in a row is absent in JSON.
fn object(row: &Row, now: SystemTime) -> Value {
    let fields = row.fields().filter_map(|(key, text)| field(key, text?, now));
    let mut object: Map<_, _> = fields.collect();
    if let Some(held) = row.number("held").and_then(seconds) {
        object.insert("acquiredAt".to_owned(), rfc3339(now - held).into());
    }
    Value::Object(object)
}

fn field(key: &str, text: &str, now: SystemTime) -> Option<(String, Value)> {
    let seconds = || text.parse().ok().and_then(seconds);
    Some(match key {
        "age" | "held" | "waited" => {
            let millis = u64::try_from(seconds()?.as_millis()).unwrap_or(u64::MAX);
            (format!("{key}Ms"), millis.into())
        }
        "expires" => ("expiresAt".to_owned(), rfc3339(now + seconds()?).into()),
        _ if NUMBERS.contains(&key) => (camel_case(key), text.parse::<u64>().ok()?.into()),
        _ => (camel_case(key), text.into()),
    })
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// `waits_for` as `waitsFor`.
fn camel_case(key: &str) -> String {
    let mut parts = key.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}
