//! What expressions come to. Pure: what has an effect is asked for and its outcome remembered.
//!
//! A call such as GET_LOCK may have to wait, and must happen once. So it is not made here: the
//! evaluation halts with what it wants, and is done again once the outcome is known, up to the next
//! such call. Everything else is the same each time.

use std::{cell::RefCell, cmp::Ordering, time::Duration};

use super::{
    ast::{Cast, Expr, Operator},
    call, numbers,
};
use crate::{
    command::Command,
    mysql::{
        catalog::Column,
        error::{SqlError, Warning},
        look::Look,
        record::Record,
        user_variables::UserVariables,
        value::{Value, folded},
        variables::Variables,
        work::{STEP, Work},
    },
};

/// The most warnings of a statement.
pub(in crate::mysql) const MAX_WARNINGS: usize = 64;

/// The longest text, and the longest pattern, that LIKE compares.
const MAX_LIKE: (usize, usize) = (64 * 1024, 256);

/// What it costs to fold a byte, to compare it or to make a number of it, in units of work.
pub(super) const FOLD: usize = 4;

/// What an expression can see.
#[derive(Clone, Copy)]
pub(in crate::mysql) struct Env<'a> {
    pub facts: Facts<'a>,
    pub parameters: &'a [Value],
    pub user: &'a UserVariables,
    /// What the statement has done so far.
    pub work: &'a Work,
    pub system: &'a Variables,
    /// The outcomes of calls with an effect, by their number.
    pub outcomes: &'a [Option<Value>],
    /// The row of a table, as pairs of column and value.
    pub row: Option<&'a [(&'static Column, Value)]>,
    /// What COUNT counts; none for one row that is not of a table.
    pub rows: Option<&'a [Record]>,
    /// Where there are rows, how to ask what takes nothing.
    pub look: Option<Look<'a>>,
    pub warnings: &'a RefCell<Vec<Warning>>,
}

/// What is the same for all of a statement.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mysql) struct Facts<'a> {
    pub id: u32,
    pub database: Option<&'a str>,
    pub user: &'a str,
    pub host: &'a str,
    /// In microseconds since 1970.
    pub now: i64,
    pub row_count: i64,
    pub found_rows: u64,
}

/// Why an evaluation did not come to its end.
#[derive(Debug)]
pub(in crate::mysql) enum Halt {
    Error(SqlError),
    /// The call of this number wants this done.
    Ask(usize, Ask),
}

/// What has an effect.
#[derive(Debug)]
pub(in crate::mysql) enum Ask {
    Run(Command),
    Sleep(Duration),
    Assign(String, Value),
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

pub(in crate::mysql) type Evaluated<T = Value> = Result<T, Halt>;

impl Env<'_> {
    pub(in crate::mysql) fn eval(&self, expr: &Expr) -> Evaluated {
        self.work.spend(STEP)?;
        // What has happened is over: its arguments do not matter any more.
        if let Expr::Call { at, .. } | Expr::Assign { at, .. } = expr
            && let Some(Some(outcome)) = self.outcomes.get(*at)
        {
            return self.copy(outcome);
        }
        Ok(match expr {
            Expr::Literal(value) => self.copy(value)?,
            Expr::Parameter(at) => self.copy(self.parameters.get(*at).unwrap_or(&Value::Null))?,
            Expr::User(name) => self.copy(self.user.get(name).unwrap_or(&Value::Null))?,
            Expr::System { global: true, name } => Variables::initial(name)?,
            Expr::System { global: false, name } => self.system.get(name)?,
            Expr::Column(name) => self.copy(&self.column(name)?.1)?,
            Expr::Star => Value::Int(1),
            Expr::Assign { at, name, value } => {
                return Err(Halt::Ask(*at, Ask::Assign(name.clone(), self.eval(value)?)));
            }
            Expr::Call { at, function, args } => call::call(self, *at, *function, args)?,
            Expr::Not(value) => self.eval(value)?.to_bool().map(|yes| !yes).into(),
            Expr::Minus(value) => numbers::arithmetic(Operator::Minus, &Value::Int(0), &self.eval(value)?)?,
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::IsNull(value, negated) => (self.eval(value)?.is_null() != *negated).into(),
            Expr::IsBool { value, wanted, negated } => {
                let is = self.eval(value)?.to_bool() == Some(*wanted);
                (is != *negated).into()
            }
            Expr::In { value, list, negated } => self.within(value, list)?.map(|is| is != *negated).into(),
            Expr::Like { value, pattern, negated } => {
                let (value, pattern) = (self.eval(value)?.to_text(), self.eval(pattern)?.to_text());
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                if length(&value) > MAX_LIKE.0 || length(&pattern) > MAX_LIKE.1 {
                    return Err(SqlError::TooComplex.into());
                }
                let Some((value, pattern)) = value.zip(pattern) else { return Ok(Value::Null) };
                (like(&value, &pattern, self.work)? != *negated).into()
            }
            Expr::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref())?
            }
            Expr::Cast(value, cast) => {
                let value = self.eval(value)?;
                self.work.spend(FOLD * value.size())?;
                call::counted(self, self.cast(&value, *cast))?
            }
        })
    }

    /// A value of its own, which counts.
    #[inline]
    fn copy(&self, value: &Value) -> Evaluated {
        if let size @ 1.. = value.size() {
            self.work.text(size)?;
        }
        Ok(value.clone())
    }

    /// How two values compare. Texts are folded for that, each time.
    pub(super) fn compare(&self, a: &Value, b: &Value) -> Evaluated<Option<Ordering>> {
        self.work.spend(FOLD * (a.size() + b.size()))?;
        Ok(a.compare(b))
    }

    /// Each is warned of once, however often an expression is evaluated.
    pub(super) fn warn(&self, warning: Warning) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// A column of this name, and its value.
    pub(super) fn column(&self, name: &str) -> Evaluated<&(&'static Column, Value)> {
        let row = self.row.unwrap_or_default();
        let unknown = || SqlError::UnknownColumn { column: name.to_owned(), clause: "field list" };
        Ok(row.iter().find(|(column, _)| column.is_named(name)).ok_or_else(unknown)?)
    }

    fn binary(&self, operator: Operator, left: &Expr, right: &Expr) -> Evaluated {
        let left = self.eval(left)?;
        match operator {
            // The right side is not looked at if the left one decides.
            Operator::And if left.to_bool() == Some(false) => return Ok(false.into()),
            Operator::Or if left.to_bool() == Some(true) => return Ok(true.into()),
            _ if left.is_null() && is_comparison(operator) => return Ok(Value::Null),
            _ => {}
        }
        let right = self.eval(right)?;
        self.work.spend(FOLD * (left.size() + right.size()))?;
        if let Some(answer) = comparison(operator, &left, &right) {
            return Ok(answer.into());
        }
        Ok(match operator {
            Operator::And => both(left.to_bool(), right.to_bool()).into(),
            Operator::Or => both(left.to_bool().map(|l| !l), right.to_bool().map(|r| !r)).map(|b| !b).into(),
            Operator::Xor => left.to_bool().zip(right.to_bool()).map(|(l, r)| l != r).into(),
            Operator::Concat => call::counted(self, call::concat(self, &[left, right]))?,
            _ => numbers::arithmetic(operator, &left, &right)?,
        })
    }

    fn within(&self, value: &Expr, list: &[Expr]) -> Evaluated<Option<bool>> {
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

    fn case(&self, operand: Option<&Expr>, branches: &[(Expr, Expr)], otherwise: Option<&Expr>) -> Evaluated {
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

    fn cast(&self, value: &Value, cast: Cast) -> Value {
        if value.is_null() {
            return Value::Null;
        }
        let text = value.to_text().unwrap_or_default();
        match cast {
            Cast::Char(length) => Value::Text(text.chars().take(length.unwrap_or(usize::MAX)).collect()),
            Cast::Binary => Value::bytes(value.to_bytes().unwrap_or_default().into_owned()),
            Cast::Signed | Cast::Unsigned => {
                if matches!(value, Value::Text(_)) && !numbers::is_integer(&text) {
                    self.warn(Warning::truncated("INTEGER", &text));
                }
                numbers::integer(value, cast == Cast::Unsigned)
            }
        }
    }
}

/// Those that NULL makes NULL.
fn is_comparison(operator: Operator) -> bool {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    matches!(operator, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
}

/// None if the operator compares nothing.
fn comparison(operator: Operator, left: &Value, right: &Value) -> Option<Option<bool>> {
    let order = || left.compare(right);
    Some(match operator {
        Operator::Equal => order().map(Ordering::is_eq),
        Operator::NotEqual => order().map(Ordering::is_ne),
        Operator::Less => order().map(Ordering::is_lt),
        Operator::LessOrEqual => order().map(Ordering::is_le),
        Operator::Greater => order().map(Ordering::is_gt),
        Operator::GreaterOrEqual => order().map(Ordering::is_ge),
        Operator::NullSafeEqual if left.is_null() || right.is_null() => {
            Some(left.is_null() && right.is_null())
        }
        Operator::NullSafeEqual => order().map(Ordering::is_eq),
        _ => return None,
    })
}

/// AND of three values.
fn both(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// LIKE without regard to case: `%` any text, `_` any character, `\` escapes. Each character may be looked at as often
/// as the pattern is long, and all of that counts.
pub(in crate::mysql) fn like(text: &str, pattern: &str, work: &Work) -> Result<bool, SqlError> {
    work.spend(FOLD * (text.len() + pattern.len()))?;
    let (text, pattern): (Vec<char>, Vec<char>) =
        (folded(text).chars().collect(), folded(pattern).chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where to go on when a `%` takes one character more. Only the last one has to be tried again.
    let mut retry = None;
    while t < text.len() {
        let (step, matches) = match pattern.get(p..) {
            Some(['%']) => return Ok(true),
            Some(['%', ..]) => {
                retry = Some((t, p));
                p += 1;
                continue;
            }
            Some(['\\', c, ..]) => (2, *c == text[t]),
            Some([c, ..]) => (1, *c == '_' || *c == text[t]),
            _ => (0, false),
        };
        if matches {
            (t, p) = (t + 1, p + step);
        } else if let Some((from, percent)) = retry {
            work.spend(FOLD * (t + 1 - from))?;
            retry = Some((from + 1, percent));
            (t, p) = (from + 1, percent + 1);
        } else {
            return Ok(false);
        }
    }
    Ok(pattern[p..].iter().all(|c| *c == '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_wildcards() {
        for (text, pattern, is) in [
            ("wait_timeout", "wait%", true),
            ("wait_timeout", "%TIMEOUT", true),
            ("wait_timeout", r"wait\_timeout", true),
            ("waitxtimeout", r"wait\_timeout", false),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("aab", "%ab", true),
        ] {
            assert_eq!(like(text, pattern, &Work::default()), Ok(is), "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn like_takes_no_more_steps_than_a_statement_may() {
        let (text, pattern) = ("a".repeat(64 * 1024), format!("%{}b", "a".repeat(250)));
        let work = Work::default();
        assert_eq!(like(&text, &pattern, &work), Err(SqlError::TooMuchWork));
        assert!(work.done() <= crate::mysql::work::MAX_STRETCH);
        let work = Work::default();
        assert_eq!(like(&text, "%a%a%a%", &work), Ok(true));
        assert!(work.done() < 5 * text.len());
    }
}
