//! Weeks, in the eight ways of `WEEK(date, mode)` (MySQL manual 14.7).

use super::Date;

/// How weeks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Weeks {
    /// Whether a week begins with Monday; else with Sunday.
    pub monday_first: bool,
    /// Whether days before the first week are of the last week of the year before; else of the week 0.
    pub of_a_year: bool,
    /// Whether the first week is the first that is whole; else the first of which four days are in the year.
    pub whole: bool,
}

impl Weeks {
    pub(in crate::wires::mysql) fn of_mode(mode: i64) -> Self {
        let bits = if mode < 0 { 0 } else { mode & 7 };
        let monday_first = bits & 1 != 0;
        // The third bit says the contrary for weeks that begin with Monday.
        Self { monday_first, of_a_year: bits & 2 != 0, whole: (bits & 4 != 0) == monday_first }
    }

    /// The year that a week is of, and its number.
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

    /// The number of the day with which the first week of a year begins.
    pub(in crate::wires::mysql) fn first_day(self, year: i64) -> i64 {
        // A year more or less than there are: counted from the next that there is.
        let near = year.clamp(0, 9999);
        let first = Date::new(near, 1, 1).unwrap_or_default().day_number() + 365 * (year - near);
        let weekday = (first + 5 + i64::from(!self.monday_first)).rem_euclid(7);
        let starts_before = if self.whole { weekday == 0 } else { weekday < 4 };
        first - weekday + if starts_before { 0 } else { 7 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
