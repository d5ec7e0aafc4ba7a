//! What kind of value an expression has, as far as can be told without evaluating it: what the
//! columns of a result are declared as (observed on MySQL 8.4).

use super::{
    ast::{Cast, Expr, Operator},
    eval::{Env, Evaluated},
    functions::Function,
};
use crate::mysql::{
    value::Value,
    variables::{Kind as VariableKind, Variables},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) enum Kind {
    Null,
    Int { unsigned: bool },
    Decimal { digits: u8 },
    Double,
    Text,
    Bytes,
    Time { digits: u8 },
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mysql) struct Type {
    pub kind: Kind,
    /// In characters.
    pub length: u32,
    pub not_null: bool,
}

impl Type {
    pub(in crate::mysql) const fn new(kind: Kind, length: u32, not_null: bool) -> Self {
        Self { kind, length, not_null }
    }

    const fn bigint(length: u32, not_null: bool) -> Self {
        Self::new(Kind::Int { unsigned: false }, length, not_null)
    }

    const fn unsigned(not_null: bool) -> Self {
        Self::new(Kind::Int { unsigned: true }, 21, not_null)
    }

    pub(in crate::mysql) const fn text(length: u32) -> Self {
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
            (Kind::Int { .. }, Kind::Int { .. }) => Kind::Int { unsigned: false },
            (Kind::Int { .. } | Kind::Decimal { .. }, Kind::Int { .. } | Kind::Decimal { .. }) => {
                Kind::Decimal { digits: self.digits().max(other.digits()) }
            }
            (
                Kind::Int { .. } | Kind::Decimal { .. } | Kind::Double,
                Kind::Int { .. } | Kind::Decimal { .. } | Kind::Double,
            ) => Kind::Double,
            _ => Kind::Text,
        };
        Self::new(kind, self.length.max(other.length), self.not_null && other.not_null)
    }

    fn digits(self) -> u8 {
        match self.kind {
            Kind::Decimal { digits } | Kind::Time { digits } => digits,
            _ => 0,
        }
    }
}

impl Env<'_> {
    /// The type of an expression. Fails where it names what does not exist.
    pub(in crate::mysql) fn type_of(&self, expr: &Expr) -> Evaluated<Type> {
        Ok(match expr {
            Expr::Literal(value) => of_value(value),
            Expr::Parameter(at) => self.parameters.get(*at).map_or(Type::text(0), of_value),
            Expr::User(name) => match self.user.get(name) {
                Some(value) => Type { not_null: false, ..of_value(value) },
                None => Type::text(0),
            },
            Expr::Assign { value, .. } => Type { not_null: false, ..self.type_of(value)? },
            Expr::System { name, .. } => match Variables::kind(name)? {
                VariableKind::Flag => Type::bigint(1, false),
                VariableKind::Number => Type::unsigned(false),
                VariableKind::Text => Type::text(21_845),
            },
            Expr::Column(name) => self.column(name)?.0.kind(),
            Expr::Star => Type::bigint(1, true),
            Expr::Call { function, args, .. } => self.of_call(*function, args)?,
            Expr::Not(value) => Type::truth(&[self.type_of(value)?]),
            Expr::Minus(value) => {
                let value = self.type_of(value)?;
                Type { length: value.length.saturating_add(1), ..value }
            }
            Expr::Binary(operator, left, right) => {
                of_operator(*operator, self.type_of(left)?, self.type_of(right)?)
            }
            Expr::IsNull(value, _) | Expr::IsBool { value, .. } => {
                self.type_of(value)?;
                Type::bigint(1, true)
            }
            Expr::In { value, list, .. } => self.of_membership(value, list)?,
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
        let longest = types.iter().fold(0_u32, |sum, arg| sum.saturating_add(arg.length)).min(MAX_TEXT);
        Ok(match function {
            Function::GetLock | Function::GetSharedLock | Function::ReleaseLock | Function::IsFreeLock => {
                Type::bigint(1, false)
            }
            Function::IsUsedLock | Function::FencingToken => Type::unsigned(false),
            Function::ReleaseAllLocks | Function::ConnectionId => Type::unsigned(true),
            Function::Count | Function::Sleep | Function::RowCount => Type::bigint(21, true),
            Function::FoundRows | Function::LastInsertId => Type::unsigned(true),
            Function::Coalesce | Function::IfNull => {
                let all = types.iter().copied().fold(Type::new(Kind::Null, 0, true), Type::or);
                Type { not_null: types.iter().any(|arg| arg.not_null), ..all }
            }
            Function::If => types[1].or(types[2]),
            Function::NullIf => Type { not_null: false, ..types[0] },
            Function::IsNull => Type::bigint(1, true),
            Function::Length | Function::CharLength => Type::bigint(10, not_null),
            Function::Abs => types[0],
            Function::Greatest | Function::Least => types.iter().copied().fold(types[0], Type::or),
            Function::Now | Function::Sysdate => {
                let digits = self.digits(args)?;
                let length = 19 + if digits > 0 { u32::from(digits) + 1 } else { 0 };
                Type::new(Kind::Time { digits }, length, true)
            }
            Function::UnixTimestamp => match types.first().map_or(0, |arg| arg.digits()) {
                0 => Type::bigint(11, not_null),
                digits => Type::new(Kind::Decimal { digits }, 18, not_null),
            },
            Function::ConvertTz => Type { not_null: false, ..types[0] },
            Function::TimeDiff => Type::text(10),
            Function::Database => Type::text(64),
            Function::Version => Type::new(Kind::Text, 64, true),
            Function::User | Function::CurrentUser => Type::text(288),
            Function::Md5 => Type::new(Kind::Text, 32, not_null),
            Function::Sha1 => Type::new(Kind::Text, 40, not_null),
            Function::Sha2 => Type::text(128),
            Function::Char => Type::new(Kind::Bytes, longest, true),
            Function::Repeat | Function::Replace | Function::ConcatWs => Type::text(MAX_TEXT),
            Function::Concat => Type::new(Kind::Text, longest, not_null),
            Function::Hex => Type::new(Kind::Text, types[0].length.saturating_mul(2), not_null),
            Function::Substring
            | Function::Left
            | Function::Right
            | Function::Lower
            | Function::Upper
            | Function::Trim => Type::new(Kind::Text, types[0].length, not_null),
        })
    }

    fn digits(&self, args: &[Expr]) -> Evaluated<u8> {
        let Some(arg) = args.first() else { return Ok(0) };
        Ok(self.eval(arg)?.to_i64().and_then(|digits| u8::try_from(digits).ok()).unwrap_or(0).min(6))
    }
}

/// What MySQL declares for texts without a bound.
const MAX_TEXT: u32 = 16_777_215;

/// The most digits behind the point.
const MAX_DIGITS: u8 = 30;

pub(in crate::mysql) fn of_value(value: &Value) -> Type {
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
        Value::Text(text) => Type::new(Kind::Text, count(text), true),
        Value::Bytes { bytes, .. } => {
            Type::new(Kind::Bytes, u32::try_from(bytes.len()).unwrap_or(MAX_TEXT), true)
        }
        Value::Time { digits, .. } => Type::new(Kind::Time { digits: *digits }, length(value), true),
    }
}

fn of_cast(value: Type, cast: Cast) -> Type {
    match cast {
        Cast::Char(length) => {
            let length = length.and_then(|length| u32::try_from(length).ok()).unwrap_or(value.length);
            Type::new(Kind::Text, length, value.not_null)
        }
        Cast::Binary => Type::new(Kind::Bytes, value.length, value.not_null),
        Cast::Signed => Type::bigint(21, value.not_null),
        Cast::Unsigned => Type::unsigned(value.not_null),
    }
}

fn of_operator(operator: Operator, left: Type, right: Type) -> Type {
    use Operator::{Concat, Divide, IntegerDivide, Minus, Modulo, Plus, Times};
    let both = left.or(right);
    let exact = |kind| matches!(kind, Kind::Int { .. } | Kind::Null | Kind::Decimal { .. });
    match operator {
        Concat => Type::new(Kind::Text, left.length.saturating_add(right.length), both.not_null),
        Plus | Minus | Times | Modulo | IntegerDivide | Divide if !exact(left.kind) || !exact(right.kind) => {
            Type::new(Kind::Double, 23, both.not_null)
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
            Kind::Decimal { digits: left.digits().saturating_add(4).min(MAX_DIGITS) },
            both.length.saturating_add(5),
            false,
        ),
        IntegerDivide => Type::bigint(21, false),
        Modulo => Type { not_null: false, ..both },
        Operator::NullSafeEqual => Type::bigint(1, true),
        Operator::BitAnd | Operator::BitOr => Type::unsigned(both.not_null),
        _ => Type::truth(&[left, right]),
    }
}
