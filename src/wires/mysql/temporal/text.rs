//! Values as they are written.

use std::fmt;

use super::{Fields, Temporal};

impl fmt::Display for Temporal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { is_negative, year, month, day, hour, minute, second, micros } = self.fields();
        let date = format_args!("{year:04}-{month:02}-{day:02}");
        match self {
            Self::Date(_) => return f.write_fmt(date),
            Self::DateTime { .. } => write!(f, "{date} ")?,
            Self::Time { .. } if is_negative => f.write_str("-")?,
            Self::Time { .. } => {}
        }
        write!(f, "{hour:02}:{minute:02}:{second:02}")?;
        let digits = usize::from(self.digits().min(6));
        if digits == 0 {
            return Ok(());
        }
        let fraction = micros / 10_i64.pow(6 - u32::from(self.digits().min(6)));
        write!(f, ".{fraction:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Date, DateTime, HOUR, Time};
    use super::*;

    #[test]
    fn values_are_written_with_their_digits() {
        let date = Date { year: 26, month: 1, day: 2 };
        assert_eq!(Temporal::Date(date).to_string(), "0026-01-02");
        let moment = DateTime { date, micros: HOUR + 2_030_000 };
        assert_eq!(Temporal::DateTime { moment, digits: 0 }.to_string(), "0026-01-02 01:00:02");
        assert_eq!(Temporal::DateTime { moment, digits: 3 }.to_string(), "0026-01-02 01:00:02.030");
        let time = Time(-100 * HOUR);
        assert_eq!(Temporal::Time { time, digits: 6 }.to_string(), "-100:00:00.000000");
    }
}
