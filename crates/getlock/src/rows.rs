//! The rows of each list: their columns for people, and for programs the documents that HTTP has for them (protocol.md,
//! part 8).

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use getlockd_client::{HistoryRow, List, LockRow, Mode, NodeRow, SessionRow, WaiterRow, WhyRow, visible};
use getlockd_proto::moment::rfc3339;
use serde_json::{Map, Value, json};

use crate::table::{CellKind, TableColumn, age, text};

/// The end of the year 9999, behind which there is no such text.
const LAST_MOMENT: Duration = Duration::from_secs(253_402_300_799);

pub(crate) trait ListRow: Sized + 'static {
    /// The name of the list in its document.
    const LIST: &str;
    /// Whether the document tells how many rows there are in all.
    const HAS_TOTAL: bool = true;
    const COLUMNS: &[TableColumn<Self>];

    /// The row in its document, where a null is left out.
    fn json(&self, now: SystemTime) -> Value;
}

const fn column<T>(head: &'static str, kind: CellKind, cell: fn(&T) -> Option<String>) -> TableColumn<T> {
    TableColumn { head, kind, cell }
}

impl ListRow for LockRow {
    const LIST: &str = "locks";
    const COLUMNS: &[TableColumn<Self>] = &[
        column("NAME", CellKind::Text, |row| text(Some(&row.name))),
        column("MODE", CellKind::Text, |row| Some(mode(row.mode))),
        column("SESSION", CellKind::Number, |row| Some(row.session.to_string())),
        column("CLIENT", CellKind::Rare, |row| row.client.as_deref().map(visible)),
        column("USER", CellKind::Rare, |row| row.user.as_deref().map(visible)),
        column("PEER", CellKind::Text, |row| text(row.peer.as_ref())),
        column("VIA", CellKind::Rare, |row| row.via.as_deref().map(visible)),
        column("HELD", CellKind::Age, |row| Some(age(row.held))),
        column("IDLE", CellKind::RareAge, |row| row.idle.map(age)),
        column("WAITERS", CellKind::Number, |row| Some(row.waiters.to_string())),
        column("FENCING TOKEN", CellKind::Number, |row| Some(row.fencing_token.to_string())),
        column("EXPIRES", CellKind::RareAge, |row| row.expires.map(age)),
        column("RESTORED", CellKind::Rare, |row| row.restored.then(|| "yes".to_owned())),
        column("NOTE", CellKind::Rare, |row| row.note.as_deref().map(visible)),
    ];

    fn json(&self, now: SystemTime) -> Value {
        json!({
            "name": self.name,
            "mode": self.mode.to_string(),
            "limit": self.mode.limit(),
            "session": self.session,
            "wire": self.wire,
            "peer": self.peer,
            "via": self.via,
            "fencingToken": self.fencing_token,
            "heldMs": millis(self.held),
            "acquiredAt": before(now, self.held),
            "waiters": self.waiters,
            "idleMs": self.idle.map(millis),
            "client": self.client,
            "user": self.user,
            "note": self.note,
            "expiresAt": self.expires.map(|left| after(now, left)),
            "restored": self.restored.then_some(true),
        })
    }
}

impl ListRow for WhyRow {
    const LIST: &str = "steps";
    const COLUMNS: &[TableColumn<Self>] = &[
        column("NAME", CellKind::Text, |row| text(Some(&row.lock.name))),
        column("MODE", CellKind::Text, |row| Some(mode(row.lock.mode))),
        column("SESSION", CellKind::Number, |row| Some(row.lock.session.to_string())),
        column("CLIENT", CellKind::Rare, |row| row.lock.client.as_deref().map(visible)),
        column("USER", CellKind::Rare, |row| row.lock.user.as_deref().map(visible)),
        column("PEER", CellKind::Text, |row| text(row.lock.peer.as_ref())),
        column("VIA", CellKind::Rare, |row| row.lock.via.as_deref().map(visible)),
        column("HELD", CellKind::Age, |row| Some(age(row.lock.held))),
        column("IDLE", CellKind::RareAge, |row| row.lock.idle.map(age)),
        column("FENCING TOKEN", CellKind::Number, |row| Some(row.lock.fencing_token.to_string())),
        column("RESTORED", CellKind::Rare, |row| row.lock.restored.then(|| "yes".to_owned())),
        column("WAITS FOR", CellKind::Text, |row| text(row.waits_for.as_ref())),
        column("NOTE", CellKind::Rare, |row| row.lock.note.as_deref().map(visible)),
    ];

    fn json(&self, now: SystemTime) -> Value {
        let mut object = self.lock.json(now);
        object["waitsFor"] = json!(self.waits_for);
        object
    }
}

impl ListRow for WaiterRow {
    const LIST: &str = "waiters";
    const COLUMNS: &[TableColumn<Self>] = &[
        column("SESSION", CellKind::Number, |row| Some(row.session.to_string())),
        column("MODE", CellKind::Text, |row| Some(mode(row.mode))),
        column("WIRE", CellKind::Rare, |row| text(row.wire.as_ref())),
        column("CLIENT", CellKind::Rare, |row| row.client.as_deref().map(visible)),
        column("USER", CellKind::Rare, |row| row.user.as_deref().map(visible)),
        column("PEER", CellKind::Text, |row| text(row.peer.as_ref())),
        column("VIA", CellKind::Rare, |row| row.via.as_deref().map(visible)),
        column("WAITED", CellKind::Age, |row| Some(age(row.waited))),
        column("NOTE", CellKind::Rare, |row| row.note.as_deref().map(visible)),
    ];

    fn json(&self, _: SystemTime) -> Value {
        json!({
            "session": self.session,
            "mode": self.mode.to_string(),
            "limit": self.mode.limit(),
            "wire": self.wire,
            "peer": self.peer,
            "via": self.via,
            "waitedMs": millis(self.waited),
            "idleMs": self.idle.map(millis),
            "client": self.client,
            "user": self.user,
            "note": self.note,
        })
    }
}

impl ListRow for HistoryRow {
    const LIST: &str = "holds";
    const HAS_TOTAL: bool = false;
    const COLUMNS: &[TableColumn<Self>] = &[
        column("SESSION", CellKind::Number, |row| Some(row.session.to_string())),
        column("MODE", CellKind::Text, |row| Some(mode(row.mode))),
        column("WIRE", CellKind::Text, |row| text(row.wire.as_ref())),
        column("CLIENT", CellKind::Rare, |row| row.client.as_deref().map(visible)),
        column("USER", CellKind::Rare, |row| row.user.as_deref().map(visible)),
        column("PEER", CellKind::Text, |row| text(row.peer.as_ref())),
        column("ENDED AGO", CellKind::Age, |row| Some(age(row.acquired.saturating_sub(row.held)))),
        column("HELD", CellKind::Age, |row| Some(age(row.held))),
        column("CAUSE", CellKind::Text, |row| text(Some(&row.cause))),
        column("REASON", CellKind::Rare, |row| row.reason.as_deref().map(visible)),
        column("FENCING TOKEN", CellKind::Number, |row| Some(row.fencing_token.to_string())),
        column("NOTE", CellKind::Rare, |row| row.note.as_deref().map(visible)),
    ];

    fn json(&self, now: SystemTime) -> Value {
        json!({
            "session": self.session,
            "wire": self.wire,
            "peer": self.peer,
            "client": self.client,
            "user": self.user,
            "mode": self.mode.to_string(),
            "limit": self.mode.limit(),
            "fencingToken": self.fencing_token,
            "acquiredAt": before(now, self.acquired),
            "heldMs": millis(self.held),
            "cause": self.cause,
            "note": self.note,
            "reason": self.reason,
        })
    }
}

impl ListRow for SessionRow {
    const LIST: &str = "sessions";
    const COLUMNS: &[TableColumn<Self>] = &[
        column("SESSION", CellKind::Number, |row| Some(row.session.to_string())),
        column("WIRE", CellKind::Text, |row| text(row.wire.as_ref())),
        column("CLIENT", CellKind::Rare, |row| row.client.as_deref().map(visible)),
        column("USER", CellKind::Rare, |row| row.user.as_deref().map(visible)),
        column("PEER", CellKind::Text, |row| text(row.peer.as_ref())),
        column("VIA", CellKind::Rare, |row| row.via.as_deref().map(visible)),
        column("AGE", CellKind::Age, |row| Some(age(row.age))),
        column("IDLE", CellKind::RareAge, |row| row.idle.map(age)),
        column("HOLDS", CellKind::Number, |row| Some(row.holds.to_string())),
        column("WAITS FOR", CellKind::Text, |row| text(row.waits_for.as_ref())),
        column("MEMORY", CellKind::Rare, |row| {
            row.memory.filter(|bytes| *bytes > 0).map(|bytes| bytes.to_string())
        }),
        column("EXPIRES", CellKind::RareAge, |row| row.expires.map(age)),
        column("RESTORED", CellKind::Rare, |row| row.restored.then(|| "yes".to_owned())),
        column("NOTE", CellKind::Rare, |row| row.note.as_deref().map(visible)),
    ];

    fn json(&self, now: SystemTime) -> Value {
        json!({
            "session": self.session,
            "wire": self.wire,
            "peer": self.peer,
            "via": self.via,
            "ageMs": millis(self.age),
            "holds": self.holds,
            "idleMs": self.idle.map(millis),
            "waitsFor": self.waits_for,
            "memory": self.memory,
            "client": self.client,
            "user": self.user,
            "note": self.note,
            "expiresAt": self.expires.map(|left| after(now, left)),
            "restored": self.restored.then_some(true),
        })
    }
}

impl ListRow for NodeRow {
    const LIST: &str = "nodes";
    const HAS_TOTAL: bool = false;
    const COLUMNS: &[TableColumn<Self>] = &[
        column("NODE", CellKind::Text, |row| text(Some(&row.node))),
        column("ROLE", CellKind::Text, |row| text(Some(&row.role))),
        column("ADDRESS", CellKind::Text, |row| text(row.address.as_ref())),
        column("VERSION", CellKind::Text, |row| text(row.version.as_ref())),
        column("STARTED", CellKind::Text, |row| row.started.map(second)),
        column("SEEN", CellKind::Age, |row| Some(age(row.seen))),
        column("RELAYED", CellKind::Number, |row| Some(row.relayed.to_string())),
    ];

    fn json(&self, now: SystemTime) -> Value {
        json!({
            "node": self.node,
            "role": self.role,
            "address": self.address,
            "version": self.version,
            "startedAt": self.started.map(|ago| before(now, ago)),
            "seenMs": millis(self.seen),
            "relayed": self.relayed,
        })
    }
}

/// With the number of permits.
pub(crate) fn mode(mode: Mode) -> String {
    mode.limit().map_or_else(|| mode.to_string(), |limit| format!("{mode} of {limit}"))
}

/// The document of a list.
pub(crate) fn document<T: ListRow>(list: &List<T>) -> String {
    let now = SystemTime::now();
    let rows: Vec<_> = list.rows.iter().map(|row| without_nulls(row.json(now))).collect();
    let mut document = json!({ T::LIST: rows });
    if T::HAS_TOTAL {
        document["total"] = list.total.into();
    }
    escaped(&format!("{document:#}"))
}

/// A moment in the past. What a server says may be before all calendars.
fn before(now: SystemTime, ago: Duration) -> String {
    rfc3339(now.checked_sub(ago).map_or(UNIX_EPOCH, |moment| moment.max(UNIX_EPOCH)))
}

/// A moment in the future, up to the end of calendars.
fn after(now: SystemTime, left: Duration) -> String {
    let last = UNIX_EPOCH + LAST_MOMENT;
    rfc3339(now.checked_add(left).map_or(last, |moment| moment.min(last)))
}

/// A moment in the past, to the second.
fn second(ago: Duration) -> String {
    let moment = before(SystemTime::now(), ago);
    moment.split_once('.').map_or(moment.clone(), |(seconds, _)| format!("{seconds}Z"))
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An object as one line.
pub(crate) fn json_line(object: Value) -> String {
    escaped(&without_nulls(object).to_string())
}

fn without_nulls(object: Value) -> Value {
    let Value::Object(fields) = object else { return object };
    fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}

/// A document with escapes for all characters that change a terminal, which JSON lets stand as they are. They occur in
/// strings alone, so an escape means the same.
fn escaped(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        if c == '\n' || visible(c.encode_utf8(&mut [0; 4])).starts_with(c) {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string grows: the write cannot fail.
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
    fn moments_are_within_the_calendar() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(before(now, Duration::from_millis(1500)), "2001-09-09T01:46:38.500Z");
        assert_eq!(before(now, Duration::MAX), "1970-01-01T00:00:00.000Z");
        assert_eq!(after(now, Duration::MAX), "9999-12-31T23:59:59.000Z");
        assert_eq!(second(Duration::MAX), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn escaped_document_is_terminal_safe_and_equal() {
        let text = "語 \\ \u{9b}2J \u{7f} \u{202e} \u{e0001}";
        let document = escaped(&format!("{:#}", json!({ "note": text })));
        assert!(
            document.contains(r"\u009b2J \u007f \u202e \udb40\udc01") && document.contains("語"),
            "{document}"
        );
        assert_eq!(serde_json::from_str::<Value>(&document).unwrap()["note"], text);
    }
}
