//! What kind of value an expression has, as far as can be told without evaluating it: what the
//! columns of a result are declared as (observed on MySQL 8.4).

use super::{
    ast::{Cast, Expr, Operator},
    dates,
    eval::{Env, Evaluated},
    function::kind,
    functions::Function,
    numbers,
};
use crate::wires::mysql::{
    charset::Charset,
    error::SqlError,
    temporal::Temporal,
    value::Value,
    variables::{Variable, VariableKind},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Kind {
    Null,
    Int {
        unsigned: bool,
    },
    Decimal {
        digits: u8,
    },
    Double,
    /// A double that is shown with so many digits.
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

impl Kind {
    fn is_number(self) -> bool {
        matches!(self, Self::Int { .. } | Self::Decimal { .. } | Self::Double | Self::Rounded { .. })
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Type {
    pub kind: Kind,
    /// In characters.
    pub length: u32,
    pub not_null: bool,
}

impl Type {
    pub(in crate::wires::mysql) const fn new(kind: Kind, length: u32, not_null: bool) -> Self {
        Self { kind, length, not_null }
    }

    pub(super) const fn bigint(length: u32, not_null: bool) -> Self {
        Self::new(Kind::Int { unsigned: false }, length, not_null)
    }

    pub(super) const fn unsigned(not_null: bool) -> Self {
        Self::new(Kind::Int { unsigned: true }, 21, not_null)
    }

    pub(in crate::wires::mysql) const fn text(length: u32) -> Self {
        Self::new(Kind::Text, length, false)
    }

    fn truth(operands: &[Self]) -> Self {
        Self::bigint(1, operands.iter().all(|operand| operand.not_null))
    }

    /// The type of a value that may be either.
    fn or(self, other: Self) -> Self {
        let kind = match (self.kind, other.kind) {
            (Kind::Null, kind) | (kind, Kind::Null) => kind,
            (a, b) if a == b => a,
            (
                Kind::Date | Kind::Time { .. } | Kind::DateTime { .. },
                Kind::Date | Kind::Time { .. } | Kind::DateTime { .. },
            ) => match (self.kind, other.kind) {
                (Kind::Time { .. }, Kind::Time { .. }) => {
                    Kind::Time { digits: self.digits().max(other.digits()) }
                }
                _ => Kind::DateTime { digits: self.digits().max(other.digits()) },
            },
            (Kind::Int { .. } | Kind::Year, Kind::Int { .. } | Kind::Year) => Kind::Int { unsigned: false },
            (Kind::Int { .. } | Kind::Decimal { .. }, Kind::Int { .. } | Kind::Decimal { .. }) => {
                Kind::Decimal { digits: self.digits().max(other.digits()) }
            }
            (a, b) if a.is_number() && b.is_number() => Kind::Double,
            _ => Kind::Text,
        };
        Self::new(kind, self.length.max(other.length), self.not_null && other.not_null)
    }

    /// How many digits are shown behind the point; none if that depends on the value.
    fn fixed_digits(self) -> Option<u8> {
        match self.kind {
            Kind::Rounded { digits } | Kind::Decimal { digits } => Some(digits),
            Kind::Int { .. } | Kind::Null => Some(0),
            _ => None,
        }
    }

    pub(super) fn digits(self) -> u8 {
        match self.kind {
            Kind::Decimal { digits } | Kind::Time { digits } | Kind::DateTime { digits } => digits,
            _ => 0,
        }
    }
}

impl Env<'_> {
    /// The type of an expression. Fails where it names what does not exist.
    pub(in crate::wires::mysql) fn type_of(&self, expr: &Expr) -> Evaluated<Type> {
        Ok(match expr {
            Expr::Literal(value) => of_value(value),
            Expr::Parameter(at) => self.parameters.get(*at).map_or(Type::text(0), of_value),
            Expr::User(name) => match self.user.get(name) {
                Some(value) => Type { not_null: false, ..of_value(value) },
                None => Type::text(0),
            },
            Expr::Assign { value, .. } => Type { not_null: false, ..self.type_of(value)? }.as_kept(),
            Expr::System { scope, name } => {
                let variable = Variable::of_scope(*scope, name).map_err(SqlError::from)?;
                if let Some(warning) = variable.deprecation() {
                    self.warn(warning);
                }
                match variable.kind {
                    VariableKind::Flag => Type::bigint(1, false),
                    VariableKind::Number { signed: true, .. } => Type::bigint(21, false),
                    VariableKind::Number { signed: false, .. } => Type::unsigned(false),
                    VariableKind::Real { .. } => Type::new(Kind::Rounded { digits: 6 }, 23, false),
                    _ => Type::text(21_845),
                }
            }
            Expr::Column(name) => match self.alias(name) {
                Some((env, expr)) => env.type_of(expr)?,
                None => self.column(name)?.0.kind(),
            },
            Expr::Star => Type::bigint(1, true),
            Expr::Call { function, args, .. } => self.of_call(*function, args)?,
            Expr::Not(value) => Type::truth(&[self.type_of(value)?]),
            Expr::Between { value, low, high, .. } => {
                Type::truth(&[self.type_of(value)?, self.type_of(low)?, self.type_of(high)?])
            }
            Expr::Minus(value) => {
                let value = self.type_of(value)?.as_number();
                if matches!(value.kind, Kind::Text | Kind::Bytes) {
                    return Ok(Type::new(Kind::Double, 23, value.not_null));
                }
                let kind = match value.kind {
                    Kind::Int { .. } => Kind::Int { unsigned: false },
                    kind => kind,
                };
                Type { kind, length: value.length.saturating_add(1), ..value }
            }
            Expr::Binary(operator, left, right) => {
                let digits = self.system.settings().division_digits;
                of_operator(*operator, self.type_of(left)?, self.type_of(right)?, digits)
            }
            Expr::IsNull(value, _) | Expr::IsBool { value, .. } => {
                self.type_of(value)?;
                Type::bigint(1, true)
            }
            Expr::In { value, list, .. } => self.of_membership(value, list)?,
            Expr::Invert(value) => Type::unsigned(self.type_of(value)?.not_null),
            Expr::Collate { value, .. } => {
                let value = self.type_of(value)?;
                Type { kind: if value.kind == Kind::Null { Kind::Text } else { value.kind }, ..value }
            }
            Expr::Charset { of, .. } => {
                self.type_of(of)?;
                Type::new(Kind::Text, 64, true)
            }
            Expr::Regexp { value, pattern, .. } => {
                Type { not_null: false, ..Type::truth(&[self.type_of(value)?, self.type_of(pattern)?]) }
            }
            Expr::Like { value, pattern, .. } => Type::truth(&[self.type_of(value)?, self.type_of(pattern)?]),
            Expr::Case { operand, branches, otherwise } => {
                self.of_case(operand.as_deref(), branches, otherwise.as_deref())?
            }
            Expr::Cast(value, cast) => of_cast(self.type_of(value)?, *cast),
        })
    }

    fn of_membership(&self, value: &Expr, list: &[Expr]) -> Evaluated<Type> {
        let mut operands = vec![self.type_of(value)?];
        for member in list {
            operands.push(self.type_of(member)?);
        }
        Ok(Type::truth(&operands))
    }

    fn of_case(
        &self,
        operand: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Evaluated<Type> {
        operand.map(|operand| self.type_of(operand)).transpose()?;
        let mut results = Vec::new();
        for (when, then) in branches {
            self.type_of(when)?;
            results.push(then);
        }
        results.extend(otherwise);
        let all = self.either(&results)?;
        Ok(Type { not_null: all.not_null && otherwise.is_some(), ..all })
    }

    fn either(&self, exprs: &[&Expr]) -> Evaluated<Type> {
        let mut all = Type::new(Kind::Null, 0, true);
        for expr in exprs {
            all = all.or(self.type_of(expr)?);
        }
        Ok(all)
    }

    fn of_call(&self, function: Function, args: &[Expr]) -> Evaluated<Type> {
        let types = args.iter().map(|arg| self.type_of(arg)).collect::<Evaluated<Vec<_>>>()?;
        let not_null = types.iter().all(|arg| arg.not_null);
        Ok(match function {
            Function::GetLock | Function::GetSharedLock | Function::ReleaseLock | Function::IsFreeLock => {
                Type::bigint(1, false)
            }
            Function::IsUsedLock | Function::FencingToken => Type::unsigned(false),
            Function::ReleaseAllLocks | Function::ConnectionId => Type::unsigned(true),
            Function::Count | Function::CountDistinct | Function::Sleep | Function::RowCount => {
                Type::bigint(21, true)
            }
            Function::FoundRows | Function::LastInsertId => Type::unsigned(true),
            Function::Coalesce | Function::IfNull => {
                let all = types.iter().copied().fold(Type::new(Kind::Null, 0, true), Type::or);
                Type { not_null: types.iter().any(|arg| arg.not_null), ..all }
            }
            Function::If => types[1].or(types[2]),
            Function::NullIf => Type { not_null: false, ..types[0] },
            Function::IsNull => Type::bigint(1, true),
            Function::Greatest | Function::Least => types.iter().copied().fold(types[0], Type::or),
            Function::Date(function) => dates::of_call(self, function, args, &types)?,
            Function::Database => Type::text(64),
            Function::Version => Type::new(Kind::Text, 64, true),
            Function::User | Function::CurrentUser => Type::text(288),
            Function::Modulo => of_operator(Operator::Modulo, types[0], types[1], 0),
            Function::Round | Function::Truncate => {
                let places = match args.get(1) {
                    None => Some(0),
                    Some(Expr::Literal(value)) => value.to_i64(),
                    Some(_) => None,
                };
                kind::rounded(types[0], places, not_null)
            }
            _ => kind::kind(function, &types),
        })
    }
}

/// What MySQL declares for texts without a bound.
pub(super) const MAX_TEXT: u32 = 16_777_215;

/// The most digits behind the point.
const MAX_DIGITS: u8 = 30;

pub(in crate::wires::mysql) fn of_value(value: &Value) -> Type {
    let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(MAX_TEXT);
    let length = |value: &Value| value.to_text().map_or(0, |text| count(&text));
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) + 1;
    match value {
        Value::Null => Type::new(Kind::Null, 0, false),
        Value::Int(number) => Type::bigint(digits(number.unsigned_abs()) + 1, true),
        Value::UInt(number) => Type::new(Kind::Int { unsigned: true }, digits(*number), true),
        Value::Decimal(decimal) => {
            let digits = u8::try_from(decimal.scale).unwrap_or(30);
            Type::new(Kind::Decimal { digits }, length(value).saturating_add(1), true)
        }
        Value::Double(_) => Type::new(Kind::Double, 23, true),
        Value::Rounded { digits, .. } => Type::new(Kind::Rounded { digits: *digits }, 23, true),
        Value::Text(text) => Type::new(Kind::Text, count(text), true),
        Value::Bytes { bytes, .. } => {
            Type::new(Kind::Bytes, u32::try_from(bytes.len()).unwrap_or(MAX_TEXT), true)
        }
        Value::Temporal(temporal) => {
            let digits = temporal.digits();
            let of_kind = match temporal {
                Temporal::Date(_) => Type::date(),
                Temporal::Time { .. } => Type::time(digits),
                Temporal::DateTime { .. } => Type::datetime(digits),
            };
            Type { not_null: true, ..of_kind }
        }
    }
}

fn of_cast(value: Type, cast: Cast) -> Type {
    match cast {
        Cast::Char(length) => {
            let length = length.and_then(|length| u32::try_from(length).ok()).unwrap_or(value.length);
            Type::new(Kind::Text, length, value.not_null)
        }
        Cast::Using(Charset::BINARY) | Cast::Binary(None) => {
            Type::new(Kind::Bytes, value.length, value.not_null)
        }
        Cast::Using(_) => Type::text(value.length),
        Cast::Binary(Some(length)) => {
            Type::new(Kind::Bytes, u32::try_from(length).unwrap_or(MAX_TEXT), value.not_null)
        }
        Cast::Decimal { precision, scale } => {
            let point = u32::from(scale > 0);
            let digits = u8::try_from(scale).unwrap_or(MAX_DIGITS);
            Type::new(Kind::Decimal { digits }, precision + 1 + point, value.not_null)
        }
        Cast::Double | Cast::Float => Type::new(Kind::Double, 23, value.not_null),
        Cast::Signed => Type::bigint(21, value.not_null),
        Cast::Unsigned => Type::unsigned(value.not_null),
        Cast::Date => Type::date(),
        Cast::Time(digits) => Type::time(digits),
        Cast::DateTime(digits) => Type::datetime(digits),
        Cast::Year => Type::new(Kind::Year, 4, false),
    }
}

/// `digits`: how many a division adds.
fn of_operator(operator: Operator, left: Type, right: Type, digits: u32) -> Type {
    use Operator::{Concat, Divide, IntegerDivide, Minus, Modulo, Plus, Times};
    let (left, right) = (left.as_number(), right.as_number());
    let both = left.or(right);
    let exact = |kind| matches!(kind, Kind::Int { .. } | Kind::Null | Kind::Decimal { .. });
    match operator {
        Concat => Type::new(Kind::Text, left.length.saturating_add(right.length), both.not_null),
        Plus | Minus | Times | Modulo | Divide if !exact(left.kind) || !exact(right.kind) => {
            let shown = left.fixed_digits().zip(right.fixed_digits());
            let kind = match shown.map(|(left, right)| numbers::digits_of(operator, left, right, digits)) {
                Some(digits) => Kind::Rounded { digits },
                None => Kind::Double,
            };
            Type::new(kind, 23, both.not_null && !matches!(operator, Divide | Modulo))
        }
        Plus | Minus | Times => {
            let digits = if operator == Times {
                left.digits().saturating_add(right.digits()).min(MAX_DIGITS)
            } else {
                both.digits()
            };
            let is_unsigned = |kind| kind == Kind::Int { unsigned: true };
            let kind = match both.kind {
                Kind::Decimal { .. } => Kind::Decimal { digits },
                _ => Kind::Int { unsigned: is_unsigned(left.kind) || is_unsigned(right.kind) },
            };
            let length = if operator == Times {
                left.length.saturating_add(right.length)
            } else {
                both.length.saturating_add(1)
            };
            Type::new(kind, length, both.not_null)
        }
        // A division by zero is NULL.
        Divide => Type::new(
            Kind::Decimal {
                digits: left
                    .digits()
                    .saturating_add(u8::try_from(digits).unwrap_or(MAX_DIGITS))
                    .min(MAX_DIGITS),
            },
            both.length.saturating_add(digits + 1),
            false,
        ),
        IntegerDivide => Type::bigint(21, false),
        Modulo => Type { not_null: false, ..both },
        Operator::NullSafeEqual => Type::bigint(1, true),
        Operator::BitAnd
        | Operator::BitOr
        | Operator::BitXor
        | Operator::ShiftLeft
        | Operator::ShiftRight => Type::unsigned(both.not_null),
        _ => Type::truth(&[left, right]),
    }
}
