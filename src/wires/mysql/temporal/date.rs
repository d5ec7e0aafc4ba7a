//! Dates, their day numbers, the names of days and months, and weeks in the eight modes of `WEEK(date, mode)` (MySQL
//! manual 14.7).

use super::Components;

/// The number of the last day, 9999-12-31.
pub(in crate::wires::mysql) const MAX_DAY: i64 = 3_652_424;

/// The number of days in 400 years.
const ERA: i64 = 146_097;

/// A date, which may have zeros: `2026-00-00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::wires::mysql) struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

impl Date {
    /// `None` if a part is out of range. The date need not exist: `2026-02-31` is valid here, and `Rules` decide.
    pub(in crate::wires::mysql) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let is_part = (0..=9999).contains(&year) && (0..=12).contains(&month) && (0..=31).contains(&day);
        let (year, month, day) = (year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?);
        is_part.then_some(Self { year, month, day })
    }

    pub(in crate::wires::mysql) fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Whether its month or its day is unknown.
    pub(in crate::wires::mysql) fn has_zeros(self) -> bool {
        self.month == 0 || self.day == 0
    }

    /// Whether the month has that day.
    pub(in crate::wires::mysql) fn exists(self) -> bool {
        !self.has_zeros() && i64::from(self.day) <= days_in_month(self.year.into(), self.month.into())
    }

    /// The number of days since the year 0 (TO_DAYS). Dates with zeros are counted as MySQL counts them.
    pub(in crate::wires::mysql) fn day_number(self) -> i64 {
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        if year == 0 && month == 0 {
            return 0;
        }
        let days = 365 * year + 31 * (month - 1) + day;
        let (since_march, short) = if month <= 2 { (year - 1, 0) } else { (year, (month * 4 + 23) / 10) };
        // The first year has no leap day.
        let since_march = since_march.max(0);
        days - short + since_march / 4 - (since_march / 100 + 1) * 3 / 4
    }

    /// The date with a day number; the zero date for numbers before the first, and `None` after the last.
    pub(in crate::wires::mysql) fn of_day(number: i64) -> Option<Self> {
        if number > MAX_DAY {
            return None;
        }
        if number <= 365 {
            return Some(Self::default());
        }
        // Counted from a first of March, a leap day is the last of its years.
        let since = number - 60;
        let (era, in_era) = (since / ERA, since % ERA);
        let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / (ERA - 1)) / 365;
        let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * in_year + 2) / 153;
        let day = in_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self::new(era * 400 + year_of_era + i64::from(month <= 2), month, day)
    }

    /// 0 for a Monday, 6 for a Sunday.
    pub(in crate::wires::mysql) fn weekday(self) -> i64 {
        (self.day_number() + 5).rem_euclid(7)
    }

    pub(in crate::wires::mysql) fn day_of_year(self) -> i64 {
        self.day_number() - Self { month: 1, day: 1, ..self }.day_number() + 1
    }

    /// The last day of its month.
    pub(in crate::wires::mysql) fn last_of_month(self) -> Self {
        let last = days_in_month(self.year.into(), self.month.into());
        Self { day: last.try_into().unwrap_or(31), ..self }
    }

    /// The date a number of months later or earlier: on the same day, or on the last day of a shorter month. `None`
    /// beyond the range of years.
    pub(in crate::wires::mysql) fn plus_months(self, months: i64) -> Option<Self> {
        let month = i64::from(self.year) * 12 + i64::from(self.month) - 1;
        let month = month.checked_add(months)?;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        Self::new(year, month, i64::from(self.day).min(days_in_month(year, month)))
    }

    pub(in crate::wires::mysql) fn fields(self) -> Components {
        Components {
            year: self.year.into(),
            month: self.month.into(),
            day: self.day.into(),
            ..Components::default()
        }
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The year 0 is not a leap year in MySQL.
fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) && year != 0
}

/// How weeks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Weeks {
    /// Whether a week begins on Monday, and not on Sunday.
    pub monday_first: bool,
    /// Whether days before the first week belong to the last week of the previous year, and not to week 0.
    pub of_a_year: bool,
    /// Whether the first week of a year is the first complete one, and not the first with four days in the year.
    pub whole: bool,
}

impl Weeks {
    pub(in crate::wires::mysql) fn of_mode(mode: i64) -> Self {
        let bits = if mode < 0 { 0 } else { mode & 7 };
        let monday_first = bits & 1 != 0;
        // The third bit means the opposite for weeks that begin with Monday.
        Self { monday_first, of_a_year: bits & 2 != 0, whole: (bits & 4 != 0) == monday_first }
    }

    /// The year that the week of a date belongs to, and the number of the week.
    pub(in crate::wires::mysql) fn week(self, date: Date) -> (i64, i64) {
        let (day, year) = (date.day_number(), i64::from(date.year));
        let number = |start: i64| (day - start).div_euclid(7) + 1;
        let start = self.first_day(year);
        if day < start {
            return if self.of_a_year { (year - 1, number(self.first_day(year - 1))) } else { (year, 0) };
        }
        if self.of_a_year && day >= self.first_day(year + 1) {
            return (year + 1, 1);
        }
        (year, number(start))
    }

    /// The day number of the first day of a year's first week.
    pub(in crate::wires::mysql) fn first_day(self, year: i64) -> i64 {
        // A year just outside of the range is counted from its neighbour.
        let near = year.clamp(0, 9999);
        let first = Date::new(near, 1, 1).unwrap_or_default().day_number() + 365 * (year - near);
        let weekday = (first + 5 + i64::from(!self.monday_first)).rem_euclid(7);
        let starts_before = if self.whole { weekday == 0 } else { weekday < 4 };
        first - weekday + if starts_before { 0 } else { 7 }
    }
}

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

/// Starting on Monday.
pub(in crate::wires::mysql) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The abbreviation of a name.
pub(super) fn short(name: &str) -> &str {
    &name[..3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_number() {
        let mut last = Date { year: 0, month: 12, day: 31 };
        assert_eq!(last.day_number(), 365);
        for number in 366..=MAX_DAY {
            let date = Date::of_day(number).unwrap();
            assert!(date.exists() && date > last, "{date:?}");
            assert_eq!(date.day_number(), number, "{date:?}");
            last = date;
        }
        assert_eq!(last, Date { year: 9999, month: 12, day: 31 });
        assert_eq!(Date::of_day(MAX_DAY + 1), None);
        assert_eq!(Date::of_day(i64::MIN), Some(Date::default()));
        assert_eq!(Date { year: 0, month: 1, day: 1 }.day_number(), 1);
        assert_eq!(Date { year: 0, month: 3, day: 1 }.day_number(), 60);
        assert_eq!(Date { year: 1970, month: 1, day: 1 }.day_number(), 719_528);
        assert_eq!(Date { year: 2026, month: 11, day: 27 }.weekday(), 4);
    }

    #[test]
    fn adding_a_month_clamps_the_day() {
        let date = Date { year: 2024, month: 1, day: 31 };
        assert_eq!(date.plus_months(1), Date::new(2024, 2, 29));
        assert_eq!(date.plus_months(-2), Date::new(2023, 11, 30));
        assert_eq!(date.plus_months(i64::MAX), None);
        assert_eq!(date.plus_months(-2024 * 12 - 1), None);
    }

    #[test]
    fn weeks_follow_all_eight_modes() {
        // A Saturday, a Friday and a Tuesday.
        for ((year, month, day), weeks) in [
            ((2000, 1, 1), [0, 0, 52, 52, 0, 0, 52, 52]),
            ((2026, 11, 27), [47, 48, 47, 48, 47, 47, 47, 47]),
            ((2024, 12, 31), [52, 53, 52, 1, 53, 53, 1, 53]),
        ] {
            let date = Date::new(year, month, day).unwrap();
            for (mode, week) in (0..).zip(weeks) {
                assert_eq!(Weeks::of_mode(mode).week(date).1, week, "{date:?} in mode {mode}");
            }
        }
        assert_eq!(Weeks::of_mode(3).week(Date::new(2024, 12, 31).unwrap()), (2025, 1));
        assert_eq!(Weeks::of_mode(2).week(Date::new(2000, 1, 1).unwrap()), (1999, 52));
    }
}
