//! The types of result columns. Data that the catalog, the result and the evaluation share.

use crate::wires::mysql::{temporal::Temporal, value::Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum TypeKind {
    Null,
    Int {
        unsigned: bool,
    },
    Decimal {
        digits: u8,
    },
    Double,
    /// A double that is shown with this many digits.
    Rounded {
        digits: u8,
    },
    Text,
    Bytes,
    Year,
    Date,
    Time {
        digits: u8,
    },
    DateTime {
        digits: u8,
    },
}

impl TypeKind {
    fn is_number(self) -> bool {
        matches!(self, Self::Int { .. } | Self::Decimal { .. } | Self::Double | Self::Rounded { .. })
    }

    /// The digits of the fraction of a value of this kind as a date or a time; a string may have any number.
    pub(super) fn fraction_digits(self) -> u8 {
        match self {
            Self::Time { digits }
            | Self::DateTime { digits }
            | Self::Decimal { digits }
            | Self::Rounded { digits } => digits.min(6),
            Self::Null | Self::Int { .. } | Self::Date | Self::Year => 0,
            Self::Text | Self::Bytes | Self::Double => 6,
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct ColumnType {
    pub kind: TypeKind,
    /// The length in characters.
    pub length: u32,
    pub not_null: bool,
}

impl ColumnType {
    pub(in crate::wires::mysql) const fn new(kind: TypeKind, length: u32, not_null: bool) -> Self {
        Self { kind, length, not_null }
    }

    pub(super) const fn bigint(length: u32, not_null: bool) -> Self {
        Self::new(TypeKind::Int { unsigned: false }, length, not_null)
    }

    pub(super) const fn unsigned(not_null: bool) -> Self {
        Self::new(TypeKind::Int { unsigned: true }, 21, not_null)
    }

    pub(in crate::wires::mysql) const fn text(length: u32) -> Self {
        Self::new(TypeKind::Text, length, false)
    }

    pub(super) fn truth(operands: &[Self]) -> Self {
        Self::bigint(1, operands.iter().all(|operand| operand.not_null))
    }

    /// The type of a value that may have either type.
    pub(super) fn or(self, other: Self) -> Self {
        let kind = match (self.kind, other.kind) {
            (TypeKind::Null, kind) | (kind, TypeKind::Null) => kind,
            (a, b) if a == b => a,
            (
                TypeKind::Date | TypeKind::Time { .. } | TypeKind::DateTime { .. },
                TypeKind::Date | TypeKind::Time { .. } | TypeKind::DateTime { .. },
            ) => match (self.kind, other.kind) {
                (TypeKind::Time { .. }, TypeKind::Time { .. }) => {
                    TypeKind::Time { digits: self.digits().max(other.digits()) }
                }
                _ => TypeKind::DateTime { digits: self.digits().max(other.digits()) },
            },
            (TypeKind::Int { .. } | TypeKind::Year, TypeKind::Int { .. } | TypeKind::Year) => {
                TypeKind::Int { unsigned: false }
            }
            (
                TypeKind::Int { .. } | TypeKind::Decimal { .. },
                TypeKind::Int { .. } | TypeKind::Decimal { .. },
            ) => TypeKind::Decimal { digits: self.digits().max(other.digits()) },
            (a, b) if a.is_number() && b.is_number() => TypeKind::Double,
            _ => TypeKind::Text,
        };
        Self::new(kind, self.length.max(other.length), self.not_null && other.not_null)
    }

    /// How many digits are shown after the point; `None` if that depends on the value.
    pub(super) fn fixed_digits(self) -> Option<u8> {
        match self.kind {
            TypeKind::Rounded { digits } | TypeKind::Decimal { digits } => Some(digits),
            TypeKind::Int { .. } | TypeKind::Null => Some(0),
            _ => None,
        }
    }

    pub(super) fn digits(self) -> u8 {
        match self.kind {
            TypeKind::Decimal { digits } | TypeKind::Time { digits } | TypeKind::DateTime { digits } => {
                digits
            }
            _ => 0,
        }
    }

    /// A type with room for the digits of a fraction.
    const fn with_digits(kind: TypeKind, width: u32, digits: u8) -> Self {
        Self::new(kind, width + if digits > 0 { 1 + digits as u32 } else { 0 }, false)
    }

    pub(in crate::wires::mysql::sql) const fn date() -> Self {
        Self::new(TypeKind::Date, 10, false)
    }

    pub(in crate::wires::mysql::sql) const fn time(digits: u8) -> Self {
        Self::with_digits(TypeKind::Time { digits }, 10, digits)
    }

    pub(in crate::wires::mysql::sql) const fn datetime(digits: u8) -> Self {
        Self::with_digits(TypeKind::DateTime { digits }, 19, digits)
    }

    /// The type of such a value in a user variable: variables hold no dates.
    pub(in crate::wires::mysql::sql) fn as_kept(self) -> Self {
        match self.kind {
            TypeKind::Date | TypeKind::Time { .. } | TypeKind::DateTime { .. } => {
                Self { kind: TypeKind::Text, ..self }
            }
            _ => self,
        }
    }

    /// The type of such a value in arithmetic: dates are numbers there.
    pub(in crate::wires::mysql::sql) fn as_number(self) -> Self {
        let kind = match self.kind {
            TypeKind::Year => TypeKind::Int { unsigned: true },
            TypeKind::Date | TypeKind::Time { digits: 0 } | TypeKind::DateTime { digits: 0 } => {
                TypeKind::Int { unsigned: false }
            }
            TypeKind::Time { digits } | TypeKind::DateTime { digits } => TypeKind::Decimal { digits },
            kind => kind,
        };
        Self { kind, ..self }
    }

    pub(super) fn of_value(value: &Value) -> Self {
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(MAX_TEXT);
        let length = |value: &Value| value.to_text().map_or(0, |text| count(&text));
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0) + 1;
        match value {
            Value::Null => ColumnType::new(TypeKind::Null, 0, false),
            Value::Int(number) => ColumnType::bigint(digits(number.unsigned_abs()) + 1, true),
            Value::UInt(number) => ColumnType::new(TypeKind::Int { unsigned: true }, digits(*number), true),
            Value::Decimal(decimal) => {
                let digits = u8::try_from(decimal.scale).unwrap_or(30);
                ColumnType::new(TypeKind::Decimal { digits }, length(value).saturating_add(1), true)
            }
            Value::Double(_) => ColumnType::new(TypeKind::Double, 23, true),
            Value::Rounded { digits, .. } => ColumnType::new(TypeKind::Rounded { digits: *digits }, 23, true),
            Value::Text(text) => ColumnType::new(TypeKind::Text, count(text), true),
            Value::Bytes { bytes, .. } => {
                ColumnType::new(TypeKind::Bytes, u32::try_from(bytes.len()).unwrap_or(MAX_TEXT), true)
            }
            Value::Temporal(temporal) => {
                let digits = temporal.digits();
                let of_kind = match temporal {
                    Temporal::Date(_) => ColumnType::date(),
                    Temporal::Time { .. } => ColumnType::time(digits),
                    Temporal::DateTime { .. } => ColumnType::datetime(digits),
                };
                ColumnType { not_null: true, ..of_kind }
            }
        }
    }
}

/// The length that MySQL declares for unbounded strings.
pub(super) const MAX_TEXT: u32 = 16_777_215;
