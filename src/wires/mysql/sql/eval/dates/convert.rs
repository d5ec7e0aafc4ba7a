//! Converting values to dates and times, with warnings for those that are invalid: arguments, CAST, and literals, for
//! which invalid values are errors.

use crate::wires::mysql::{
    error::{SqlError, Warning},
    sql::{
        ast::{Cast, Expr},
        builtin::{Function, Literal},
        column_type::TypeKind,
        env::{Env, EvalResult},
    },
    temporal::{
        Date, DateTime, Deprecated, Offset, Reading, Rules, Temporal, Time, datetime_of_number,
        datetime_of_text, rounded, time_of_number, time_of_text, with_century,
    },
    value::{Number, Value},
};

/// How many characters of a string a warning shows.
const SHOWN: usize = 128;

impl Env<'_> {
    pub(super) fn zone(&self) -> Offset {
        self.system.settings().zone
    }

    pub(super) fn rules(&self) -> Rules {
        self.system.settings().dates
    }

    pub(super) fn local(&self) -> DateTime {
        self.zone().local(self.session_info.now)
    }

    pub(super) fn today(&self) -> Date {
        self.local().date
    }

    /// The value as a date, or a date with a time; `None`, with a warning, if it is neither.
    pub(super) fn date_of(&self, value: &Value, rules: Rules) -> Option<Temporal> {
        match value {
            Value::Null => None,
            Value::Temporal(temporal) => self.taken(*temporal, rules),
            Value::Text(_) | Value::Bytes { .. } => {
                let text = value.to_text()?;
                let Some(read) = datetime_of_text(&text, rules) else {
                    self.incorrect("datetime", &text);
                    return None;
                };
                Some(self.accepted(read, &text, None))
            }
            number => {
                let (whole, micros, digits) = split_number(number.to_number()?);
                let found = datetime_of_number(whole, micros, digits, rules);
                if found.is_none() {
                    self.incorrect("datetime", &number.to_text()?);
                }
                found
            }
        }
    }

    /// Like `date_of`, as a moment: a date is its midnight.
    pub(super) fn moment_of(&self, value: &Value, rules: Rules) -> Option<DateTime> {
        self.date_of(value, rules)?.moment(self.today())
    }

    /// The value as a time, or a moment that has one; `None`, with a warning, if it is neither.
    pub(super) fn time_of(&self, value: &Value) -> Option<Temporal> {
        match value {
            Value::Null => None,
            Value::Temporal(Temporal::Date(date)) => {
                Some(Temporal::DateTime { moment: DateTime { date: *date, micros: 0 }, digits: 0 })
            }
            Value::Temporal(temporal) => Some(*temporal),
            Value::Text(_) | Value::Bytes { .. } => {
                let text = value.to_text()?;
                let Some(read) = time_of_text(&text, self.rules()) else {
                    self.truncated("time", &text);
                    return None;
                };
                Some(self.accepted(read, &text, Some("time")))
            }
            number => {
                let (whole, micros, digits) = split_number(number.to_number()?);
                let found = time_of_number(whole, micros, digits, self.rules());
                if found.is_none() {
                    self.truncated("time", &number.to_text()?);
                }
                found
            }
        }
    }

    /// Like `time_of`, without the date of a moment.
    pub(super) fn clock_of(&self, value: &Value) -> Option<Time> {
        self.time_of(value).map(clock)
    }

    /// The value, if it is a date already and the rules accept it.
    fn taken(&self, temporal: Temporal, rules: Rules) -> Option<Temporal> {
        let date = match temporal {
            Temporal::Date(date) => date,
            Temporal::DateTime { moment, .. } => moment.date,
            Temporal::Time { digits, .. } => {
                return Some(Temporal::DateTime { moment: temporal.moment(self.today())?, digits });
            }
        };
        let is_taken = if date.is_zero() { rules.zero } else { rules.zero_parts || !date.has_zeros() };
        if !is_taken {
            self.incorrect("datetime", &temporal.to_string());
        }
        is_taken.then_some(temporal)
    }

    /// The value that was read, in the zone of the session, with its warnings.
    fn accepted(&self, read: Reading, text: &str, kind: Option<&str>) -> Temporal {
        let Reading { value, is_cut, deprecated, zone } = read;
        if is_cut {
            let is_date = matches!(value, Temporal::Date(_));
            self.truncated(kind.unwrap_or(if is_date { "date" } else { "datetime" }), text);
        }
        if let Some(Deprecated { delimiter, position, standard }) = deprecated {
            let text = excerpt(text);
            let what = format!(
                "Delimiter '{delimiter}' in position {position} in datetime value '{text}' at row 1 is"
            );
            self.warn(match standard {
                Some(standard) => {
                    Warning::new(4095, format!("{what} deprecated. Prefer the standard '{standard}'."))
                }
                None => Warning::new(4096, format!("{what} superfluous and is deprecated. Please remove.")),
            });
        }
        match (value, zone) {
            (Temporal::DateTime { moment, digits }, Some(zone)) => {
                Temporal::DateTime { moment: self.zone().local(zone.unix(moment)), digits }
            }
            _ => value,
        }
    }

    pub(super) fn incorrect(&self, kind: &str, text: &str) {
        self.warn(Warning::new(1292, format!("Incorrect {kind} value: '{}'", excerpt(text))));
    }

    pub(super) fn truncated(&self, kind: &str, text: &str) {
        self.warn(Warning::truncated(kind, excerpt(text)));
    }

    /// NULL, with a warning, for a result beyond the range of years.
    pub(super) fn overflow(&self, kind: &str) -> Value {
        self.warn(Warning::new(1441, format!("Datetime function: {kind} field overflow")));
        Value::Null
    }

    /// How many digits of a fraction an argument may have as a date, or as a time. A literal has those that are typed.
    /// No other expression is evaluated for this: a chain of calls would be evaluated twice at each level.
    pub(super) fn digits_of(&self, arg: &Expr, kind: TypeKind, as_time: bool) -> EvalResult<u8> {
        match arg {
            Expr::Literal(_) | Expr::Parameter(_) => {
                Ok(self.digits_of_value(arg, &self.eval(arg)?, kind, as_time))
            }
            _ => Ok(kind.fraction_digits()),
        }
    }

    /// How many digits it has, now that its value is known. The values of variables are not considered.
    pub(super) fn digits_of_value(&self, arg: &Expr, value: &Value, kind: TypeKind, as_time: bool) -> u8 {
        if !matches!(kind, TypeKind::Text | TypeKind::Bytes)
            || matches!(arg, Expr::User(_) | Expr::Assign { .. })
        {
            return kind.fraction_digits();
        }
        let text = value.to_text().unwrap_or_default();
        let read =
            if as_time { time_of_text(&text, self.rules()) } else { datetime_of_text(&text, self.rules()) };
        read.map_or(0, |read| read.value.digits())
    }

    /// A value of COALESCE, IF, CASE and the like, converted to the declared kind of date.
    pub(in crate::wires::mysql::sql) fn as_declared(&self, value: Value, expr: &Expr) -> EvalResult {
        match (value, expr) {
            (
                Value::Temporal(temporal),
                Expr::Call { function: Function::Coalesce | Function::IfNull | Function::If, .. }
                | Expr::Call { function: Function::Greatest | Function::Least, .. }
                | Expr::Case { .. },
            ) => Ok(self.of_kind(temporal, self.type_of(expr)?.kind)),
            (value, _) => Ok(value),
        }
    }

    fn of_kind(&self, value: Temporal, kind: TypeKind) -> Value {
        Value::Temporal(match (kind, value) {
            (TypeKind::DateTime { digits }, _) => match value.moment(self.today()) {
                Some(moment) => Temporal::DateTime { moment, digits },
                None => return Value::Null,
            },
            (TypeKind::Time { digits }, Temporal::Time { time, .. }) => Temporal::Time { time, digits },
            (TypeKind::Date | TypeKind::Time { .. }, value) => value,
            _ => return Value::Text(value.to_string()),
        })
    }

    /// Compares a date or a time with another value: strings are read as dates, and anything else is compared as a
    /// number.
    pub(in crate::wires::mysql::sql) fn compare_dates(
        &self,
        a: &Value,
        b: &Value,
    ) -> EvalResult<Option<std::cmp::Ordering>> {
        let Some((a, b)) = self.dates(a, b)?.zip(self.dates(b, a)?) else { return Ok(a.compare(b)) };
        Ok(Some(a.compare(b, self.today())))
    }

    /// The form in which a value is compared with another that may be a date.
    fn dates(&self, value: &Value, other: &Value) -> EvalResult<Option<Temporal>> {
        let (text, other) = match (value, other) {
            (Value::Temporal(temporal), _) => return Ok(Some(*temporal)),
            (Value::Text(text), Value::Temporal(other)) => (text, other),
            _ => return Ok(None),
        };
        let (read, kind) = match other {
            Temporal::Time { .. } => (time_of_text(text, self.rules()), "TIME"),
            Temporal::Date(_) => (datetime_of_text(text, self.rules().lenient()), "DATE"),
            Temporal::DateTime { .. } => (datetime_of_text(text, self.rules().lenient()), "DATETIME"),
        };
        match read {
            Some(read) => Ok(Some(self.accepted(read, text, None))),
            None => Err(SqlError::IncorrectValue { kind, value: excerpt(text).to_owned() }.into()),
        }
    }
}

/// The time of a moment, or a time.
pub(super) fn clock(value: Temporal) -> Time {
    match value {
        Temporal::Time { time, .. } => time,
        Temporal::DateTime { moment, .. } => Time(moment.micros),
        Temporal::Date(_) => Time::default(),
    }
}

pub(super) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// Splits a number into its whole part, the microseconds after its point, and the number of their digits. The whole
/// part saturates.
pub(super) fn split_number(number: Number) -> (i64, i64, u8) {
    let (micros, digits) = match number {
        Number::Exact(decimal) => (decimal.scaled_to(6), u8::try_from(decimal.scale.min(6)).unwrap_or(6)),
        Number::Double(double) => (Number::Double(double * 1e6).round(), 6),
    };
    let whole = i64::try_from(micros / 1_000_000).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX });
    (whole, i64::try_from(micros % 1_000_000).unwrap_or(0), digits)
}

/// The range of YEAR.
const YEARS: std::ops::RangeInclusive<i64> = 1901..=2155;

/// CAST to a date, a time or a year; NULL if the value is invalid.
pub(in crate::wires::mysql::sql) fn cast(env: &Env<'_>, value: &Value, cast: Cast) -> Value {
    let cast = match cast {
        Cast::Time(digits) => to_time(env, value, digits),
        Cast::DateTime(digits) => to_datetime(env, value, digits),
        Cast::Year => to_year(env, value),
        _ => to_date(env, value),
    };
    cast.unwrap_or(Value::Null)
}

pub(super) fn to_date(env: &Env<'_>, value: &Value) -> Option<Value> {
    let moment = env.moment_of(value, env.rules())?;
    Some(Value::Temporal(Temporal::Date(moment.date)))
}

pub(super) fn to_time(env: &Env<'_>, value: &Value, digits: u8) -> Option<Value> {
    let (time, _) = Time::clamped(rounded(env.clock_of(value)?.0, digits));
    Some(Value::Temporal(Temporal::Time { time, digits }))
}

pub(super) fn to_datetime(env: &Env<'_>, value: &Value, digits: u8) -> Option<Value> {
    let Some(moment) = env.moment_of(value, env.rules())?.rounded(digits) else {
        return Some(env.overflow("datetime"));
    };
    Some(Value::Temporal(Temporal::DateTime { moment, digits }))
}

fn to_year(env: &Env<'_>, value: &Value) -> Option<Value> {
    let year = match value {
        Value::Null => return None,
        Value::Temporal(_) => env.moment_of(value, env.rules().lenient())?.fields().year,
        Value::Text(_) | Value::Bytes { .. } => {
            let text = value.to_text()?;
            let digits = text.trim_start().bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = text.trim_start()[..digits].parse().ok().or_else(|| {
                env.incorrect("YEAR", &text);
                None
            })?;
            if digits < text.trim_start().len() {
                env.truncated("YEAR", &text);
            }
            if number == 0 { 2000 } else { with_century(number) }
        }
        number => match split_number(number.to_number()?).0 {
            0 => 0,
            year => with_century(year),
        },
    };
    if year != 0 && !YEARS.contains(&year) {
        env.truncated("YEAR", &year.to_string());
        return None;
    }
    Some(Value::Int(year))
}

/// The value of `DATE'2026-11-27'`. An invalid string is an error here; in ODBC's syntax the caller treats it as a
/// string.
pub(super) fn literal(env: &Env<'_>, literal: Literal, text: &str) -> EvalResult<Option<Temporal>> {
    let rules = env.rules();
    let (read, kind) = match literal {
        Literal::Date => (datetime_of_text(text, rules), "DATE"),
        Literal::Time => (time_of_text(text, rules), "TIME"),
        Literal::DateTime => (datetime_of_text(text, rules), "DATETIME"),
    };
    let is_right = |read: &Reading| {
        let is_kind = matches!(
            (read.value, literal),
            (Temporal::Date(_), Literal::Date)
                | (Temporal::Time { .. }, Literal::Time)
                | (Temporal::DateTime { .. }, Literal::DateTime)
        );
        is_kind && !read.is_cut
    };
    match read.filter(is_right) {
        Some(_) if literal == Literal::Time => Ok(env.time_of(&Value::text(text))),
        Some(_) => Ok(env.date_of(&Value::text(text), rules)),
        None => Err(SqlError::IncorrectValue { kind, value: excerpt(text).to_owned() }.into()),
    }
}
