//! The type of an expression, as far as it is known without evaluating it: the declared types of result columns
//! (observed on MySQL 8.4).

use super::{arithmetic, dates, service};
use crate::wires::mysql::{
    charset::Charset,
    error::SqlError,
    sql::{
        ast::{Cast, Expr, Operator},
        builtin::Function,
        column_type::{ColumnType, MAX_TEXT, TypeKind},
        env::{Env, EvalResult},
    },
    variables::{Variable, VariableKind},
};

impl Env<'_> {
    /// The type of an expression. Fails if the expression refers to something that does not exist, so that an unknown
    /// name is an error even if no row is evaluated.
    pub(in crate::wires::mysql) fn type_of(&self, expr: &Expr) -> EvalResult<ColumnType> {
        Ok(match expr {
            Expr::Literal(value) => ColumnType::of_value(value),
            Expr::Parameter(at) => self.parameters.get(*at).map_or(ColumnType::text(0), ColumnType::of_value),
            Expr::User(name) => match self.user.get(name) {
                Some(value) => ColumnType { not_null: false, ..ColumnType::of_value(value) },
                None => ColumnType::text(0),
            },
            Expr::Assign { value, .. } => ColumnType { not_null: false, ..self.type_of(value)? }.as_kept(),
            Expr::System { scope, name } => {
                let variable = Variable::of_scope(*scope, name).map_err(SqlError::from)?;
                if let Some(warning) = variable.deprecation() {
                    self.warn(warning);
                }
                match variable.kind {
                    VariableKind::Flag => ColumnType::bigint(1, false),
                    VariableKind::Number { signed: true, .. } => ColumnType::bigint(21, false),
                    VariableKind::Number { signed: false, .. } => ColumnType::unsigned(false),
                    VariableKind::Real { .. } => ColumnType::new(TypeKind::Rounded { digits: 6 }, 23, false),
                    _ => ColumnType::text(21_845),
                }
            }
            Expr::Column(name) => match self.alias(name) {
                Some((env, expr)) => env.type_of(expr)?,
                None => self.column(name)?.0.kind(),
            },
            Expr::Star => ColumnType::bigint(1, true),
            Expr::Call { function, args, .. } => self.of_call(*function, args)?,
            Expr::Not(value) => ColumnType::truth(&[self.type_of(value)?]),
            Expr::Between { value, low, high, .. } => {
                ColumnType::truth(&[self.type_of(value)?, self.type_of(low)?, self.type_of(high)?])
            }
            Expr::Minus(value) => {
                let value = self.type_of(value)?.as_number();
                if matches!(value.kind, TypeKind::Text | TypeKind::Bytes) {
                    return Ok(ColumnType::new(TypeKind::Double, 23, value.not_null));
                }
                let kind = match value.kind {
                    TypeKind::Int { .. } => TypeKind::Int { unsigned: false },
                    kind => kind,
                };
                ColumnType { kind, length: value.length.saturating_add(1), ..value }
            }
            Expr::Binary(operator, left, right) => {
                let digits = self.system.settings().division_digits;
                of_operator(*operator, self.type_of(left)?, self.type_of(right)?, digits)
            }
            Expr::IsNull(value, _) | Expr::IsBool { value, .. } => {
                self.type_of(value)?;
                ColumnType::bigint(1, true)
            }
            Expr::In { value, list, .. } => self.of_membership(value, list)?,
            Expr::Invert(value) => ColumnType::unsigned(self.type_of(value)?.not_null),
            Expr::Collate { value, .. } => {
                let value = self.type_of(value)?;
                ColumnType {
                    kind: if value.kind == TypeKind::Null { TypeKind::Text } else { value.kind },
                    ..value
                }
            }
            Expr::Charset { of, .. } => {
                self.type_of(of)?;
                ColumnType::new(TypeKind::Text, 64, true)
            }
            Expr::Regexp { value, pattern, .. } => ColumnType {
                not_null: false,
                ..ColumnType::truth(&[self.type_of(value)?, self.type_of(pattern)?])
            },
            Expr::Like { value, pattern, .. } => {
                ColumnType::truth(&[self.type_of(value)?, self.type_of(pattern)?])
            }
            Expr::Case { operand, branches, otherwise } => {
                self.of_case(operand.as_deref(), branches, otherwise.as_deref())?
            }
            Expr::Cast(value, cast) => of_cast(self.type_of(value)?, *cast),
        })
    }

    fn of_membership(&self, value: &Expr, list: &[Expr]) -> EvalResult<ColumnType> {
        let mut operands = vec![self.type_of(value)?];
        for member in list {
            operands.push(self.type_of(member)?);
        }
        Ok(ColumnType::truth(&operands))
    }

    fn of_case(
        &self,
        operand: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> EvalResult<ColumnType> {
        operand.map(|operand| self.type_of(operand)).transpose()?;
        let mut results = Vec::new();
        for (when, then) in branches {
            self.type_of(when)?;
            results.push(then);
        }
        results.extend(otherwise);
        let all = self.either(&results)?;
        Ok(ColumnType { not_null: all.not_null && otherwise.is_some(), ..all })
    }

    fn either(&self, exprs: &[&Expr]) -> EvalResult<ColumnType> {
        let mut all = ColumnType::new(TypeKind::Null, 0, true);
        for expr in exprs {
            all = all.or(self.type_of(expr)?);
        }
        Ok(all)
    }

    fn of_call(&self, function: Function, args: &[Expr]) -> EvalResult<ColumnType> {
        let types = args.iter().map(|arg| self.type_of(arg)).collect::<EvalResult<Vec<_>>>()?;
        let not_null = types.iter().all(|arg| arg.not_null);
        Ok(match function {
            Function::GetLock
            | Function::GetSharedLock
            | Function::GetLocks
            | Function::GetSharedLocks
            | Function::GetPermit
            | Function::ReleaseLock
            | Function::IsFreeLock => ColumnType::bigint(1, false),
            Function::Service(function) => service::of_call(self, function, args, &types)?,
            Function::IsUsedLock | Function::FencingToken => ColumnType::unsigned(false),
            // The token of a lease.
            Function::LeaseLock => ColumnType::text(32),
            Function::ReleaseLocks | Function::ReleaseAllLocks | Function::ConnectionId => {
                ColumnType::unsigned(true)
            }
            Function::Count | Function::CountDistinct | Function::Sleep | Function::RowCount => {
                ColumnType::bigint(21, true)
            }
            Function::FoundRows | Function::LastInsertId => ColumnType::unsigned(true),
            Function::Coalesce | Function::IfNull => {
                let all =
                    types.iter().copied().fold(ColumnType::new(TypeKind::Null, 0, true), ColumnType::or);
                ColumnType { not_null: types.iter().any(|arg| arg.not_null), ..all }
            }
            Function::If => types[1].or(types[2]),
            Function::NullIf => ColumnType { not_null: false, ..types[0] },
            Function::IsNull => ColumnType::bigint(1, true),
            Function::Greatest | Function::Least => types.iter().copied().fold(types[0], ColumnType::or),
            Function::Date(function) => dates::of_call(self, function, args, &types)?,
            Function::Database => ColumnType::text(64),
            Function::Version => ColumnType::new(TypeKind::Text, 64, true),
            Function::User | Function::CurrentUser => ColumnType::text(288),
            Function::Modulo => of_operator(Operator::Modulo, types[0], types[1], 0),
            Function::Round | Function::Truncate => {
                let places = match args.get(1) {
                    None => Some(0),
                    Some(Expr::Literal(value)) => value.to_i64(),
                    Some(_) => None,
                };
                rounded(types[0], places, not_null)
            }
            _ => of_function(function, &types),
        })
    }
}

/// The most digits after the point.
const MAX_DIGITS: u8 = 30;

fn of_cast(value: ColumnType, cast: Cast) -> ColumnType {
    match cast {
        Cast::Char(length) => {
            let length = length.and_then(|length| u32::try_from(length).ok()).unwrap_or(value.length);
            ColumnType::new(TypeKind::Text, length, value.not_null)
        }
        Cast::Using(Charset::BINARY) | Cast::Binary(None) => {
            ColumnType::new(TypeKind::Bytes, value.length, value.not_null)
        }
        Cast::Using(_) => ColumnType::text(value.length),
        Cast::Binary(Some(length)) => {
            ColumnType::new(TypeKind::Bytes, u32::try_from(length).unwrap_or(MAX_TEXT), value.not_null)
        }
        Cast::Decimal { precision, scale } => {
            let point = u32::from(scale > 0);
            let digits = u8::try_from(scale).unwrap_or(MAX_DIGITS);
            ColumnType::new(TypeKind::Decimal { digits }, precision + 1 + point, value.not_null)
        }
        Cast::Double | Cast::Float => ColumnType::new(TypeKind::Double, 23, value.not_null),
        Cast::Signed => ColumnType::bigint(21, value.not_null),
        Cast::Unsigned => ColumnType::unsigned(value.not_null),
        Cast::Date => ColumnType::date(),
        Cast::Time(digits) => ColumnType::time(digits),
        Cast::DateTime(digits) => ColumnType::datetime(digits),
        Cast::Year => ColumnType::new(TypeKind::Year, 4, false),
    }
}

/// `digits`: how many digits a division adds (`div_precision_increment`).
fn of_operator(operator: Operator, left: ColumnType, right: ColumnType, digits: u32) -> ColumnType {
    use Operator::{Concat, Divide, IntegerDivide, Minus, Modulo, Plus, Times};
    let (left, right) = (left.as_number(), right.as_number());
    let both = left.or(right);
    let exact = |kind| matches!(kind, TypeKind::Int { .. } | TypeKind::Null | TypeKind::Decimal { .. });
    match operator {
        Concat => ColumnType::new(TypeKind::Text, left.length.saturating_add(right.length), both.not_null),
        Plus | Minus | Times | Modulo | Divide if !exact(left.kind) || !exact(right.kind) => {
            let shown = left.fixed_digits().zip(right.fixed_digits());
            let kind = match shown.map(|(left, right)| arithmetic::digits_of(operator, left, right, digits)) {
                Some(digits) => TypeKind::Rounded { digits },
                None => TypeKind::Double,
            };
            ColumnType::new(kind, 23, both.not_null && !matches!(operator, Divide | Modulo))
        }
        Plus | Minus | Times => {
            let digits = if operator == Times {
                left.digits().saturating_add(right.digits()).min(MAX_DIGITS)
            } else {
                both.digits()
            };
            let is_unsigned = |kind| kind == TypeKind::Int { unsigned: true };
            let kind = match both.kind {
                TypeKind::Decimal { .. } => TypeKind::Decimal { digits },
                _ => TypeKind::Int { unsigned: is_unsigned(left.kind) || is_unsigned(right.kind) },
            };
            let length = if operator == Times {
                left.length.saturating_add(right.length)
            } else {
                both.length.saturating_add(1)
            };
            ColumnType::new(kind, length, both.not_null)
        }
        // A division by zero is NULL.
        Divide => ColumnType::new(
            TypeKind::Decimal {
                digits: left
                    .digits()
                    .saturating_add(u8::try_from(digits).unwrap_or(MAX_DIGITS))
                    .min(MAX_DIGITS),
            },
            both.length.saturating_add(digits + 1),
            false,
        ),
        IntegerDivide => ColumnType::bigint(21, false),
        Modulo => ColumnType { not_null: false, ..both },
        Operator::NullSafeEqual => ColumnType::bigint(1, true),
        Operator::BitAnd
        | Operator::BitOr
        | Operator::BitXor
        | Operator::ShiftLeft
        | Operator::ShiftRight => ColumnType::unsigned(both.not_null),
        _ => ColumnType::truth(&[left, right]),
    }
}

/// The type of a function, if it depends only on the types of its arguments.
fn of_function(function: Function, types: &[ColumnType]) -> ColumnType {
    let not_null = types.iter().all(|arg| arg.not_null);
    let length = |at: usize| types.get(at).map_or(0, |arg| arg.length);
    let all = types.iter().fold(0_u32, |sum, arg| sum.saturating_add(arg.length)).min(MAX_TEXT);
    let is_binary = types.iter().any(|arg| arg.kind == TypeKind::Bytes);
    let of_texts = |length: u32, not_null: bool| {
        ColumnType::new(
            if is_binary { TypeKind::Bytes } else { TypeKind::Text },
            length.min(MAX_TEXT),
            not_null,
        )
    };
    match function {
        // Texts that are made of texts.
        Function::Substring
        | Function::Left
        | Function::Right
        | Function::Lower
        | Function::Upper
        | Function::Trim
        | Function::Ltrim
        | Function::Rtrim
        | Function::Reverse
        | Function::SubstringIndex => of_texts(length(0), not_null),
        Function::Concat => of_texts(all, not_null),
        Function::Insert => of_texts(length(0).saturating_add(length(3)), not_null),
        Function::Quote => of_texts(length(0).saturating_mul(2).saturating_add(2), not_null),
        Function::Elt => of_texts(types[1..].iter().map(|arg| arg.length).max().unwrap_or(0), false),
        Function::MakeSet => of_texts(all, not_null),
        Function::ExportSet => {
            let part = length(1).max(length(2)).saturating_add(if types.len() > 3 { length(3) } else { 1 });
            of_texts(part.saturating_mul(64), not_null)
        }
        Function::Repeat | Function::Replace | Function::ConcatWs | Function::Lpad | Function::Rpad => {
            of_texts(MAX_TEXT, false)
        }
        Function::RegexpSubstr | Function::RegexpReplace => of_texts(MAX_TEXT, false),
        Function::Space | Function::LoadFile => ColumnType::text(MAX_TEXT),
        Function::Soundex => ColumnType::new(TypeKind::Text, length(0).max(4), not_null),
        Function::CurrentRole => ColumnType::text(MAX_TEXT),
        // Texts that are numbers or bytes.
        Function::Hex => ColumnType::new(TypeKind::Text, length(0).saturating_mul(2), not_null),
        Function::Unhex => ColumnType::new(TypeKind::Bytes, length(0).div_ceil(2), false),
        Function::ToBase64 => {
            let size = length(0).div_ceil(3).saturating_mul(4);
            ColumnType::new(TypeKind::Text, size + size / 76, not_null)
        }
        Function::FromBase64 => ColumnType::new(TypeKind::Bytes, length(0) / 4 * 3 + 3, false),
        Function::Conv | Function::Bin | Function::Oct => ColumnType::text(64),
        Function::Format => {
            ColumnType::new(TypeKind::Text, length(0).saturating_add(length(0) / 3 + 31), not_null)
        }
        Function::FormatBytes => ColumnType::new(TypeKind::Text, 11, not_null),
        Function::Md5 => ColumnType::new(TypeKind::Text, 32, not_null),
        Function::Sha1 => ColumnType::new(TypeKind::Text, 40, not_null),
        Function::Sha2 => ColumnType::text(128),
        Function::Uuid => ColumnType::new(TypeKind::Text, 36, true),
        Function::BinToUuid => ColumnType::text(36),
        Function::UuidToBin => ColumnType::new(TypeKind::Bytes, 16, false),
        Function::RandomBytes => ColumnType::new(TypeKind::Bytes, 1024, false),
        Function::InetNtoa => ColumnType::text(15),
        Function::Inet6Ntoa => ColumnType::text(39),
        Function::Inet6Aton => ColumnType::new(TypeKind::Bytes, 16, false),
        Function::Char => {
            ColumnType::new(TypeKind::Bytes, u32::try_from(types.len()).unwrap_or(0).saturating_mul(4), true)
        }
        // Whole numbers.
        Function::Length | Function::CharLength => ColumnType::bigint(10, not_null),
        Function::BitLength | Function::Locate | Function::Instr => ColumnType::bigint(11, not_null),
        Function::Ascii | Function::Field | Function::FindInSet => ColumnType::bigint(3, not_null),
        Function::Ord => ColumnType::bigint(7, not_null),
        Function::Strcmp | Function::BitCount => ColumnType::bigint(2, not_null),
        Function::Interval => ColumnType::bigint(2, true),
        Function::Sign => ColumnType::bigint(21, not_null),
        Function::Crc32 => ColumnType::new(TypeKind::Int { unsigned: true }, 10, not_null),
        Function::UuidShort => ColumnType::unsigned(true),
        Function::InetAton => ColumnType::unsigned(false),
        Function::RegexpInstr => ColumnType::bigint(11, not_null),
        Function::RegexpLike | Function::IsUuid => ColumnType::bigint(1, false),
        Function::IsIpv4 | Function::IsIpv6 | Function::IsIpv4Compat | Function::IsIpv4Mapped => {
            ColumnType::bigint(1, true)
        }
        _ => of_number_function(function, types, not_null),
    }
}

fn of_number_function(function: Function, types: &[ColumnType], not_null: bool) -> ColumnType {
    let double = |not_null: bool| ColumnType::new(TypeKind::Double, 23, not_null);
    let Some(first) = types.first() else {
        return match function {
            Function::Pi => ColumnType::new(TypeKind::Rounded { digits: 6 }, 8, true),
            _ => double(true),
        };
    };
    let is_text = matches!(first.kind, TypeKind::Text | TypeKind::Bytes);
    match function {
        Function::Abs if is_text => double(not_null),
        Function::Abs => *first,
        Function::Ceiling | Function::Floor => match first.kind {
            TypeKind::Int { .. } => *first,
            TypeKind::Decimal { .. } | TypeKind::Null => ColumnType::bigint(first.length, not_null),
            _ => double(not_null),
        },
        Function::Rand => double(true),
        // A sum of numbers is wider than each of them, and there may be none to sum up.
        Function::Sum | Function::Avg => match first.kind {
            TypeKind::Int { .. } | TypeKind::Decimal { .. } | TypeKind::Null => {
                let more = if function == Function::Avg { 4 } else { 0 };
                let digits = first.digits().saturating_add(more).min(30);
                ColumnType::new(
                    TypeKind::Decimal { digits },
                    first.length.saturating_add(22 + u32::from(more)),
                    false,
                )
            }
            _ => double(false),
        },
        Function::Min | Function::Max => ColumnType { not_null: false, ..*first },
        Function::AnyValue => *first,
        Function::NameConst => types[1],
        _ => double(false),
    }
}

/// ROUND and TRUNCATE, by the number of digits, if that is known.
fn rounded(first: ColumnType, places: Option<i64>, not_null: bool) -> ColumnType {
    let places = u8::try_from(places.unwrap_or_else(|| first.digits().into()).clamp(0, 30)).unwrap_or(0);
    match first.kind {
        TypeKind::Int { .. } => ColumnType { not_null, ..first },
        TypeKind::Decimal { digits } => {
            let length = first.length.saturating_sub(digits.into()).saturating_add(places.into());
            ColumnType::new(TypeKind::Decimal { digits: places }, length, not_null)
        }
        _ => ColumnType::new(TypeKind::Rounded { digits: places }, 23, not_null),
    }
}
