//! Evaluating expressions. Pure: it has no effects itself.
//!
//! A call such as GET_LOCK may have to wait, and must happen only once. So the evaluation does not make it: it stops
//! and says which effect it needs. The executor performs that, stores the result by the number of the call, and
//! evaluates the expression again, up to the next such call. Everything else has the same value each time.

mod arithmetic;
mod call;
mod cast;
mod dates;
mod function;
mod like;
mod lock_args;
mod service;
mod types;

pub(in crate::wires::mysql) use function::{Pattern, Sum, uuid_text};

use std::cmp::Ordering;

use super::{
    ast::{Cast, Expr, Operator},
    column_type::TypeKind,
    env::{Effect, Env, EvalResult, FOLD, Suspend},
};
use crate::wires::mysql::{
    charset::Charset,
    error::SqlError,
    value::Value,
    variables::{Scope, Variable},
    work::STEP,
};

impl Env<'_> {
    pub(in crate::wires::mysql) fn eval(&self, expr: &Expr) -> EvalResult {
        self.work.spend(STEP)?;
        // The call has happened: its arguments are not evaluated again.
        if let Expr::Call { at, .. } | Expr::Assign { at, .. } = expr
            && let Some(Some(outcome)) = self.outcomes.get(*at)
        {
            return self.copy(outcome);
        }
        Ok(match expr {
            Expr::Literal(value) => self.copy(value)?,
            Expr::Parameter(at) => self.copy(self.parameters.get(*at).unwrap_or(&Value::Null))?,
            Expr::User(name) => self.copy(self.user.get(name).unwrap_or(&Value::Null))?,
            Expr::System { scope, name } => {
                let variable = Variable::of_scope(*scope, name).map_err(SqlError::from)?;
                self.copy(&self.value_of(variable, *scope == Some(Scope::Global)))?
            }
            Expr::Column(name) => match self.alias(name) {
                Some((env, expr)) => env.eval(expr)?,
                None => self.copy(&self.column(name)?.1)?,
            },
            Expr::Star => Value::Int(1),
            Expr::Assign { at, name, value } => {
                return Err(Suspend::Effect(*at, Effect::Assign(name.clone(), self.eval(value)?.kept())));
            }
            Expr::Call { at, function, args } => {
                let value = call::call(self, *at, *function, args)?;
                self.charge(&value)?;
                if value.is_date() { self.as_declared(value, expr)? } else { value }
            }
            Expr::Not(value) => self.eval(value)?.to_bool().map(|yes| !yes).into(),
            Expr::Minus(value) => arithmetic::negated(self, &self.eval(value)?)?,
            Expr::Invert(value) => {
                arithmetic::word(&self.eval(value)?).map_or(Value::Null, |word| Value::UInt(!word))
            }
            Expr::Collate { value, .. } => self.eval(value)?,
            Expr::Charset { of, collation } => self.charset(of, *collation)?,
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::IsNull(value, negated) => (self.eval(value)?.is_null() != *negated).into(),
            Expr::IsBool { value, wanted, negated } => {
                let is = self.eval(value)?.to_bool() == Some(*wanted);
                (is != *negated).into()
            }
            Expr::Between { value, low, high, negated } => {
                self.between(value, low, high)?.map(|is| is != *negated).into()
            }
            Expr::In { value, list, negated } => {
                self.membership(value, list)?.map(|is| is != *negated).into()
            }
            Expr::Like { value, pattern, escape, negated } => {
                like::like(self, value, pattern, *escape)?.map(|is| is != *negated).into()
            }
            Expr::Regexp { value, pattern, negated } => {
                let (value, pattern) = (self.eval(value)?, self.eval(pattern)?);
                let found = function::matches(self, &value, &pattern)?.to_bool();
                found.map(|is| is != *negated).into()
            }
            Expr::Case { operand, branches, otherwise } => {
                let value = self.case(operand.as_deref(), branches, otherwise.as_deref())?;
                if value.is_date() { self.as_declared(value, expr)? } else { value }
            }
            Expr::Cast(value, cast) => {
                let value = self.eval(value)?;
                self.work.spend(cast::effort(&value, *cast))?;
                let value = cast::cast(self, &value, *cast);
                self.charge(&value)?;
                value
            }
        })
    }

    /// Copies a value, and charges the copy.
    #[inline]
    fn copy(&self, value: &Value) -> EvalResult {
        self.charge(value)?;
        Ok(value.clone())
    }

    /// Charges the statement for a new string. Numbers have none.
    #[inline]
    fn charge(&self, value: &Value) -> EvalResult<()> {
        if let size @ 1.. = value.size() {
            self.work.text(size)?;
        }
        Ok(())
    }

    /// Compares two values. Strings are folded each time, which is charged.
    pub(super) fn compare(&self, a: &Value, b: &Value) -> EvalResult<Option<Ordering>> {
        self.work.spend(FOLD * (a.size() + b.size()))?;
        self.order(a, b)
    }

    fn order(&self, a: &Value, b: &Value) -> EvalResult<Option<Ordering>> {
        match (a, b) {
            (Value::Temporal(_), _) | (_, Value::Temporal(_)) => self.compare_dates(a, b),
            _ => Ok(a.compare(b)),
        }
    }

    fn binary(&self, operator: Operator, left_expr: &Expr, right: &Expr) -> EvalResult {
        let left = self.eval(left_expr)?;
        match operator {
            // The right operand is not evaluated if the left one decides.
            Operator::And if left.to_bool() == Some(false) => return Ok(false.into()),
            Operator::Or if left.to_bool() == Some(true) => return Ok(true.into()),
            _ if left.is_null() && is_comparison(operator) => return Ok(Value::Null),
            _ => {}
        }
        let is_exact = is_exact(left_expr) || is_exact(right);
        let right = self.eval(right)?;
        self.work.spend(FOLD * (left.size() + right.size()))?;
        let (left, right) = if is_exact { (exactly(left), exactly(right)) } else { (left, right) };
        if is_comparison(operator) || operator == Operator::NullSafeEqual {
            self.warn_of_comparison(&left, &right);
        }
        if let Some(answer) = comparison(operator, &left, &right, || self.order(&left, &right))? {
            return Ok(answer.into());
        }
        Ok(match operator {
            Operator::And => and(left.to_bool(), right.to_bool()).into(),
            Operator::Or => and(left.to_bool().map(|l| !l), right.to_bool().map(|r| !r)).map(|b| !b).into(),
            Operator::Xor => left.to_bool().zip(right.to_bool()).map(|(l, r)| l != r).into(),
            Operator::Concat => {
                let value = call::concat(self, &[left, right]);
                self.charge(&value)?;
                value
            }
            _ => arithmetic::calculated(self, operator, &left, &right)?,
        })
    }

    /// Warns about a string that is compared with a number and is not one.
    fn warn_of_comparison(&self, left: &Value, right: &Value) {
        let is_number = |value: &Value| {
            !matches!(value, Value::Null | Value::Text(_) | Value::Bytes { .. } | Value::Temporal(_))
        };
        match (left, right) {
            (text @ Value::Text(_), number) | (number, text @ Value::Text(_)) if is_number(number) => {
                arithmetic::warn_of_text(self, "DOUBLE", text);
            }
            _ => {}
        }
    }

    /// The character set of a value, or its collation.
    fn charset(&self, of: &Expr, collation: bool) -> EvalResult {
        let charset = match of {
            Expr::Collate { collation: name, .. } if collation => return self.copy(&Value::text(&**name)),
            Expr::Cast(_, Cast::Using(charset)) => *charset,
            _ if self.type_of(of)?.kind != TypeKind::Text => Charset::BINARY,
            Expr::Call { function, .. } if function.is_of_system() => Charset::UTF8MB3,
            _ => self.system.connection_charset(),
        };
        Ok(Value::text(if collation { charset.collation() } else { charset.name() }))
    }

    /// Whether a value is between two bounds, inclusive. The upper one is evaluated only if the lower one does not
    /// decide.
    fn between(&self, value: &Expr, low: &Expr, high: &Expr) -> EvalResult<Option<bool>> {
        let value = self.eval(value)?;
        let is_above = self.compare(&value, &self.eval(low)?)?.map(Ordering::is_ge);
        if is_above == Some(false) {
            return Ok(is_above);
        }
        let is_below = self.compare(&value, &self.eval(high)?)?.map(Ordering::is_le);
        Ok(and(is_above, is_below))
    }

    fn membership(&self, value: &Expr, list: &[Expr]) -> EvalResult<Option<bool>> {
        let value = self.eval(value)?;
        let mut answer = Some(false);
        for member in list {
            match self.compare(&value, &self.eval(member)?)? {
                Some(Ordering::Equal) => return Ok(Some(true)),
                Some(_) => {}
                None => answer = None,
            }
        }
        Ok(answer)
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> EvalResult {
        let operand = operand.map(|operand| self.eval(operand)).transpose()?;
        for (when, then) in branches {
            let when = self.eval(when)?;
            let chosen = match &operand {
                Some(operand) => self.compare(operand, &when)? == Some(Ordering::Equal),
                None => when.to_bool() == Some(true),
            };
            if chosen {
                return self.eval(then);
            }
        }
        otherwise.map_or(Ok(Value::Null), |otherwise| self.eval(otherwise))
    }
}

/// Whether an expression is compared by its bytes because of its collation.
pub(super) fn is_exact(expr: &Expr) -> bool {
    matches!(expr, Expr::Collate { exact: true, .. })
}

/// Converts a string to bytes, which compare exactly.
fn exactly(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::bytes(text.into_bytes()),
        other => other,
    }
}

/// Whether an operator is a comparison that is NULL for an operand that is NULL.
fn is_comparison(operator: Operator) -> bool {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    matches!(operator, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
}

/// The result of a comparison; `None` if the operator is not one.
fn comparison(
    operator: Operator,
    left: &Value,
    right: &Value,
    order: impl FnOnce() -> EvalResult<Option<Ordering>>,
) -> EvalResult<Option<Option<bool>>> {
    Ok(Some(match operator {
        Operator::Equal => order()?.map(Ordering::is_eq),
        Operator::NotEqual => order()?.map(Ordering::is_ne),
        Operator::Less => order()?.map(Ordering::is_lt),
        Operator::LessOrEqual => order()?.map(Ordering::is_le),
        Operator::Greater => order()?.map(Ordering::is_gt),
        Operator::GreaterOrEqual => order()?.map(Ordering::is_ge),
        Operator::NullSafeEqual if left.is_null() || right.is_null() => {
            Some(left.is_null() && right.is_null())
        }
        Operator::NullSafeEqual => order()?.map(Ordering::is_eq),
        _ => return Ok(None),
    }))
}

/// AND in three-valued logic: `None` is NULL.
fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
