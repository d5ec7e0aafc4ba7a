//! Names of months and days, as `lc_time_names = 'en_US'` has them.

pub(in crate::wires::mysql) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Monday.
pub(in crate::wires::mysql) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A name as it is abbreviated.
pub(super) fn short(name: &str) -> &str {
    &name[..3]
}
