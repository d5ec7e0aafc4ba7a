//! Prepared statements, and the parameters that are sent with them (MySQL internals, "COM_STMT_EXECUTE"). Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{
    charset::Charset,
    error::SqlError,
    packet::Fields,
    temporal::{DAY, Date, DateTime, HOUR, MINUTE, SECOND, Temporal, Time},
    value::{Decimal, Value},
};
use crate::core::budget::{Budget, Charge};

/// The memory of a prepared statement besides its text and its parameters. Measured.
const ENTRY: usize = 224;

/// A statement that a client has prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its text, in UTF-8.
    pub sql: Bytes,
    pub parameters: usize,
    /// The types of the last execution, which the next one may omit.
    types: Vec<(u8, bool)>,
    /// Most statements have none.
    long: Option<Box<Long>>,
    _charge: Charge,
}

/// Parameters that are sent in pieces.
#[derive(Debug, Default)]
struct Long {
    data: HashMap<u16, Vec<u8>>,
    charge: Charge,
    /// Why they were discarded: the reply to the next execution.
    refused: Option<SqlError>,
}

/// The values of an execution, and the charge for those that were sent in pieces.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub values: Vec<Value>,
    charge: Charge,
    /// How many bytes the values have grown by decoding.
    grown: usize,
}

impl Bound {
    /// Charges the growth: one byte of a character set may become three of a string. Fails if the budget does not allow
    /// it.
    pub(super) fn pay(&mut self, budget: &Budget) -> Result<(), SqlError> {
        if self.grown > 0 {
            let bytes = self.charge.bytes() + self.grown;
            budget.resize(&mut self.charge, bytes)?;
        }
        Ok(())
    }
}

impl Prepared {
    pub(super) fn new(sql: Vec<u8>, parameters: usize, budget: &Budget) -> Result<Self, SqlError> {
        let types = size_of::<(u8, bool)>() * parameters;
        let charge = budget.charge(ENTRY + sql.len() + types)?;
        Ok(Self { sql: sql.into(), parameters, types: Vec::new(), long: None, _charge: charge })
    }

    /// COM_STMT_SEND_LONG_DATA. Data beyond a limit is discarded; the next execution is answered with the error.
    pub(super) fn append(&mut self, parameter: u16, data: &[u8], budget: &Budget) {
        if usize::from(parameter) >= self.parameters {
            return;
        }
        let long = self.long.get_or_insert_default();
        if long.refused.is_some() {
            return;
        }
        let bytes = long.charge.bytes() + data.len();
        let charged = if bytes > super::MAX_PACKET {
            Err(SqlError::ResultTooLarge("long data".to_owned(), super::MAX_PACKET))
        } else {
            budget.resize(&mut long.charge, bytes).map_err(SqlError::from)
        };
        match charged {
            // To the byte: a vector that doubles would have twice what is charged.
            Ok(()) => {
                let kept = long.data.entry(parameter).or_default();
                kept.reserve_exact(data.len());
                kept.extend_from_slice(data);
            }
            Err(why) => self.refuse_long(why),
        }
    }

    /// Discards parameters that were sent in pieces, and reports that at the next execution.
    pub(super) fn refuse_long(&mut self, why: SqlError) {
        self.long = Some(Box::new(Long { refused: Some(why), ..Long::default() }));
    }

    /// COM_STMT_RESET
    pub(super) fn reset(&mut self) {
        self.long = None;
    }

    /// Reads the values after the head of COM_STMT_EXECUTE.
    pub(super) fn bind(&mut self, fields: &mut Fields<'_>, charset: Charset) -> Result<Bound, SqlError> {
        let Long { data: mut long, charge, refused } =
            self.long.take().map_or_else(Long::default, |long| *long);
        if self.parameters == 0 {
            return Ok(Bound::default());
        }
        if let Some(why) = refused {
            return Err(why);
        }
        let nulls = fields.take(self.parameters.div_ceil(8))?;
        if fields.u8()? == 1 {
            let read = |fields: &mut Fields<'_>| Ok::<_, SqlError>((fields.u8()?, fields.u8()? & 0x80 != 0));
            self.types = (0..self.parameters).map(|_| read(fields)).collect::<Result<_, _>>()?;
        }
        if self.types.len() != self.parameters {
            return Err(SqlError::Malformed);
        }
        let came = fields.0.len();
        let value = |(at, (kind, unsigned)): (usize, &(u8, bool))| {
            let sent = u16::try_from(at).ok().and_then(|at| long.remove(&at));
            match sent {
                Some(data) => of_type(*kind, charset).decode(data),
                None if nulls[at / 8] & 1 << (at % 8) != 0 => Ok(Value::Null),
                None => value(fields, *kind, *unsigned, charset),
            }
        };
        let values: Vec<_> = self.types.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        let grown = if charset == Charset::UTF8MB4 {
            0
        } else {
            let texts = values.iter().map(Value::size).sum::<usize>();
            texts.saturating_sub(charge.bytes() + came - fields.0.len())
        };
        Ok(Bound { values, charge, grown })
    }
}

/// The memory of a name besides its text.
const NAME: usize = 192;

/// The named statements of a connection (MySQL manual 15.5). Most connections have none.
#[derive(Debug, Default)]
pub(super) struct NamedStatements(Option<Box<ByName>>);

/// By name, in lower case.
#[derive(Debug, Default)]
struct ByName(BTreeMap<String, (Prepared, Charge)>);

impl NamedStatements {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |named| named.0.len())
    }

    pub(super) fn get(&self, name: &str) -> Result<&Prepared, SqlError> {
        let found = self.0.as_ref().and_then(|named| named.0.get(&name.to_lowercase()));
        found.map(|(prepared, _)| prepared).ok_or_else(|| unknown(name, "EXECUTE"))
    }

    pub(super) fn insert(&mut self, name: &str, prepared: Prepared, budget: &Budget) -> Result<(), SqlError> {
        let name = name.to_lowercase();
        let charge = budget.charge(NAME + name.len())?;
        self.0.get_or_insert_default().0.insert(name, (prepared, charge));
        Ok(())
    }

    /// DEALLOCATE PREPARE
    pub(super) fn deallocate(&mut self, name: &str) -> Result<(), SqlError> {
        if self.forget(name) { Ok(()) } else { Err(unknown(name, "DEALLOCATE PREPARE")) }
    }

    /// Returns whether there was one.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        self.0.as_mut().is_some_and(|named| named.0.remove(&name.to_lowercase()).is_some())
    }
}

fn unknown(name: &str, command: &'static str) -> SqlError {
    SqlError::UnknownStatement { name: name.to_owned(), command }
}

/// The encoding of a parameter: blobs are bytes, or a string if they are a valid one.
fn of_type(kind: u8, charset: Charset) -> Charset {
    if (249..=252).contains(&kind) && charset != Charset::BINARY { Charset::UTF8MB4 } else { charset }
}

/// Reads one parameter (MySQL internals, "Binary Protocol Value").
fn value(fields: &mut Fields<'_>, kind: u8, unsigned: bool, charset: Charset) -> Result<Value, SqlError> {
    let integer = |signed: i64, bits: u64| if unsigned { Value::UInt(bits) } else { Value::Int(signed) };
    Ok(match kind {
        1 => {
            let byte = fields.u8()?;
            integer(i8::from_le_bytes([byte]).into(), byte.into())
        }
        2 | 13 => {
            let bytes = fields.array()?;
            integer(i16::from_le_bytes(bytes).into(), u16::from_le_bytes(bytes).into())
        }
        3 | 9 => {
            let bytes = fields.array()?;
            integer(i32::from_le_bytes(bytes).into(), u32::from_le_bytes(bytes).into())
        }
        8 => {
            let bytes = fields.array()?;
            integer(i64::from_le_bytes(bytes), u64::from_le_bytes(bytes))
        }
        // As it is written: 0.1 and not the double that is nearest to it.
        4 => Value::Double(f32::from_le_bytes(fields.array()?).to_string().parse().unwrap_or(0.0)),
        5 => Value::Double(f64::from_le_bytes(fields.array()?)),
        6 => Value::Null,
        7 | 12 => Value::Temporal(moment(fields)?),
        10 => Value::Temporal(date(fields)?),
        11 => Value::Temporal(time(fields)?),
        0 | 246 => {
            let text = String::from_utf8_lossy(fields.text()?).into_owned();
            Decimal::parse(&text).map_or(Value::Text(text), Value::Decimal)
        }
        15 | 16 | 245 | 247..=255 => of_type(kind, charset).decode(fields.text()?.to_vec())?,
        _ => return Err(SqlError::Malformed),
    })
}

fn date(fields: &mut Fields<'_>) -> Result<Temporal, SqlError> {
    Ok(match moment(fields)? {
        Temporal::DateTime { moment, .. } => Temporal::Date(moment.date),
        other => other,
    })
}

/// An impossible date is the zero date.
fn moment(fields: &mut Fields<'_>) -> Result<Temporal, SqlError> {
    let length = fields.u8()?;
    let mut rest = Fields(fields.take(length.into())?);
    if length == 0 {
        return Ok(Temporal::DateTime { moment: DateTime::default(), digits: 0 });
    }
    let date = Date::new(rest.u16()?.into(), rest.u8()?.into(), rest.u8()?.into());
    let (clock, digits) = if length < 7 { (0, 0) } else { clock(&mut rest)? };
    let moment = date.filter(|_| clock < DAY).map(|date| DateTime { date, micros: clock });
    Ok(Temporal::DateTime { moment: moment.unwrap_or_default(), digits })
}

fn time(fields: &mut Fields<'_>) -> Result<Temporal, SqlError> {
    let length = fields.u8()?;
    let mut rest = Fields(fields.take(length.into())?);
    if length == 0 {
        return Ok(Temporal::Time { time: Time::default(), digits: 0 });
    }
    let (is_negative, days) = (rest.u8()? == 1, i64::from(rest.u32()?));
    let (clock, digits) = clock(&mut rest)?;
    let micros = days.saturating_mul(DAY).saturating_add(clock);
    let (time, _) = Time::clamped(if is_negative { -micros } else { micros });
    Ok(Temporal::Time { time, digits })
}

/// Hours, minutes, seconds and, if present, microseconds: all as microseconds, with the number of digits of the
/// fraction.
fn clock(rest: &mut Fields<'_>) -> Result<(i64, u8), SqlError> {
    let (hour, minute, second) = (i64::from(rest.u8()?), i64::from(rest.u8()?), i64::from(rest.u8()?));
    let whole = hour * HOUR + minute * MINUTE + second * SECOND;
    Ok(rest.u32().map_or((whole, 0), |micros| (whole + i64::from(micros), 6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::MAX_CONNECTION_MEMORY;

    fn prepared(parameters: usize) -> Prepared {
        Prepared::new(Vec::new(), parameters, &Budget::default()).unwrap()
    }

    fn bind(parameters: usize, payload: &[u8]) -> Result<Vec<Value>, SqlError> {
        prepared(parameters).bind(&mut Fields(payload), Charset::UTF8MB4).map(|bound| bound.values)
    }

    #[test]
    fn time_of_too_many_days_is_clamped() {
        for (sign, shown) in [(0, "838:59:59"), (1, "-838:59:59")] {
            let time = [&[8, sign][..], &u32::MAX.to_le_bytes(), &[23, 59, 59]].concat();
            let values = bind(1, &[&[0, 1, 11, 0][..], &time].concat()).unwrap();
            assert_eq!(values[0].to_text().as_deref(), Some(shown));
        }
    }

    #[test]
    fn every_parameter_type_is_read() {
        let payload = [
            &[0, 0, 1][..],
            &[1, 0, 2, 0x80, 3, 0, 8, 0x80, 4, 0, 5, 0, 12, 0, 11, 0, 246, 0, 253, 0],
            &[0xFF],
            &[0xFF, 0xFF],
            &(-5_i32).to_le_bytes(),
            &u64::MAX.to_le_bytes(),
            &0.1_f32.to_le_bytes(),
            &1.5_f64.to_le_bytes(),
            &[7, 0xEA, 7, 11, 20, 9, 30, 5],
            &[12, 1, 1, 0, 0, 0, 2, 3, 4, 5, 0, 0, 0],
            &[4, b'1', b'.', b'5', b'0'],
            &[2, 0xC3, 0xA9],
        ]
        .concat();
        let values = bind(10, &payload).unwrap();
        let texts: Vec<_> = values.iter().map(|value| value.to_text().unwrap()).collect();
        let expected = [
            "-1",
            "65535",
            "-5",
            "18446744073709551615",
            "0.1",
            "1.5",
            "2026-11-20 09:30:05",
            "-26:03:04.000005",
            "1.50",
            "é",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn nulls_long_data_and_earlier_types_are_used() {
        assert_eq!(bind(1, &[1, 1, 253, 0]), Ok(vec![Value::Null]));
        assert_eq!(bind(1, &[0, 0]), Err(SqlError::Malformed), "no types yet");
        assert_eq!(bind(1, &[0, 1, 253, 0, 5, b'a']), Err(SqlError::Malformed), "too short");
        let (mut prepared, budget) = (prepared(1), Budget::default());
        prepared.append(0, b"ni", &budget);
        prepared.append(0, b"ghtly", &budget);
        assert_eq!(budget.used(), 7);
        let mut bind =
            |payload: &[u8]| prepared.bind(&mut Fields(payload), Charset::UTF8MB4).map(|bound| bound.values);
        assert_eq!(bind(&[0, 1, 252, 0]), Ok(vec![Value::text("nightly")]));
        assert_eq!(bind(&[0, 0, 1, b'x']), Ok(vec![Value::text("x")]));
    }

    #[test]
    fn long_data_beyond_the_budget_is_dropped() {
        let (mut prepared, budget) = (prepared(1), Budget::default());
        let other = budget.charge(MAX_CONNECTION_MEMORY - 1_000).unwrap();
        prepared.append(0, &[b'x'; 900], &budget);
        prepared.append(0, &[b'x'; 900], &budget);
        prepared.append(0, b"behind it", &budget);
        assert_eq!(budget.used(), other.bytes());
        let mut bind =
            |payload: &[u8]| prepared.bind(&mut Fields(payload), Charset::UTF8MB4).map(|b| b.values);
        assert_eq!(bind(&[0, 1, 252, 0]).unwrap_err().code().0, 1226);
        assert_eq!(bind(&[0, 1, 252, 0, 1, b'x']), Ok(vec![Value::text("x")]));
        prepared.append(0, &vec![b'x'; super::super::MAX_PACKET + 1], &Budget::default());
        assert_eq!(bind_long(&mut prepared).unwrap_err().code().0, 1301);
    }

    #[test]
    fn parameter_is_charged_by_its_text_length() {
        let (mut prepared, budget) = (prepared(1), Budget::default());
        let latin1 = Charset::named("latin1").unwrap();
        prepared.append(0, &[0x80; 1_000], &budget);
        let mut bound = prepared.bind(&mut Fields(&[0, 1, 253, 0]), latin1).unwrap();
        bound.pay(&budget).unwrap();
        assert_eq!((bound.values[0].size(), budget.used()), (3_000, 3_000));
        drop(bound);
        let mut bound = prepared.bind(&mut Fields(&[0, 1, 253, 0, 2, 0x80, 0x80]), latin1).unwrap();
        bound.pay(&budget).unwrap();
        assert_eq!(
            (bound.values, budget.used()),
            (vec![Value::text("€€")], 3),
            "its packet is charged by itself"
        );
    }

    fn bind_long(prepared: &mut Prepared) -> Result<Vec<Value>, SqlError> {
        prepared.bind(&mut Fields(&[0, 1, 252, 0]), Charset::UTF8MB4).map(|bound| bound.values)
    }
}
