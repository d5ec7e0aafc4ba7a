//! Moments as JSON has them, for the server and for `getlock --json`.

use std::time::SystemTime;

use time::OffsetDateTime;

/// A moment of the wall clock in UTC, to the millisecond (RFC 3339): `2026-11-20T09:30:00.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (date, (hour, minute, second, millis)) = (time.date(), time.time().as_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
