//! Lists as JSON: the documents that HTTP has for them (protocol.md, part 8).

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use getlockd_client::{List, LockRow, SessionRow, WhyRow, visible};
use getlockd_proto::moment::rfc3339;
use serde_json::{Map, Value, json};

/// A list, under the name that HTTP has for it.
pub(crate) fn document<T: Object>(what: &str, list: &List<T>) -> String {
    let now = SystemTime::now();
    let rows: Vec<_> = list.rows.iter().map(|row| present(row.object(now))).collect();
    escaped(&format!("{:#}", json!({ what: rows, "total": list.total })))
}

/// What a row is in JSON. What is null is absent in the document.
pub(crate) trait Object {
    fn object(&self, now: SystemTime) -> Value;
}

impl Object for LockRow {
    fn object(&self, now: SystemTime) -> Value {
        json!({
            "name": self.name,
            "mode": self.mode.to_string(),
            "session": self.session,
            "wire": self.wire,
            "peer": self.peer,
            "fencingToken": self.fencing_token,
            "heldMs": millis(self.held),
            "acquiredAt": rfc3339(now - self.held),
            "waiters": self.waiters,
            "client": self.client,
            "user": self.user,
            "note": self.note,
            "expiresAt": self.expires.map(|left| rfc3339(now + left)),
        })
    }
}

impl Object for WhyRow {
    fn object(&self, now: SystemTime) -> Value {
        let mut object = self.lock.object(now);
        object["waitsFor"] = json!(self.waits_for);
        object
    }
}

impl Object for SessionRow {
    fn object(&self, now: SystemTime) -> Value {
        json!({
            "session": self.session,
            "wire": self.wire,
            "peer": self.peer,
            "ageMs": millis(self.age),
            "holds": self.holds,
            "waitsFor": self.waits_for,
            "memory": self.memory,
            "client": self.client,
            "user": self.user,
            "note": self.note,
            "expiresAt": self.expires.map(|left| rfc3339(now + left)),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn present(object: Value) -> Value {
    let Value::Object(fields) = object else { return object };
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}

/// JSON leaves characters as they are that change a terminal. They stand in strings alone.
fn escaped(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        if c == '\n' || visible(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A text that grows refuses nothing.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_changes_no_terminal_and_means_the_same() {
        let text = "語 \\ \u{9b}2J \u{7f} \u{202e} \u{e0001}";
        let document = escaped(&format!("{:#}", json!({ "note": text })));
        assert!(
            document.contains(r"\u009b2J \u007f \u202e \udb40\udc01") && document.contains("語"),
            "{document}"
        );
        assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["note"], text);
    }
}
