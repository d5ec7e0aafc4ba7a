//! Expressions (MySQL manual, chapter 14), by precedence (14.4.1).

use super::{
    ast::{Cast, Expr, Operator},
    cursor::Cursor,
    dates,
    functions::Function,
    lex::{Token, text_of},
    like::ESCAPE,
    parse::Parsing,
    primary::primary,
    unserved::{self, lack},
};
use crate::wires::mysql::{
    charset::Collation,
    error::SqlError,
    value::{Decimal, Value},
};

pub(super) fn expr(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    cursor.deeper(disjunction)
}

/// Operators of one level, from the left.
fn chain(
    cursor: &mut Cursor<'_>,
    operand: fn(&mut Cursor<'_>) -> Parsing<Expr>,
    operator: fn(&mut Cursor<'_>) -> Option<Operator>,
) -> Parsing<Expr> {
    let mut left = operand(cursor)?;
    while !cursor.is_after_expression()
        && let Some(operator) = operator(cursor)
    {
        cursor.count_operator()?;
        left = Expr::binary(operator, left, operand(cursor)?);
    }
    Ok(left)
}

fn disjunction(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, exclusion, |cursor| {
        let pipes = !cursor.dialect.pipes_as_concat && cursor.symbol("||");
        (pipes || cursor.word("OR")).then_some(Operator::Or)
    })
}

fn exclusion(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, conjunction, |cursor| cursor.word("XOR").then_some(Operator::Xor))
}

fn conjunction(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, negation, |cursor| (cursor.symbol("&&") || cursor.word("AND")).then_some(Operator::And))
}

fn negation(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    if !cursor.dialect.high_not && cursor.word("NOT") {
        return cursor.deeper(|cursor| Ok(Expr::Not(Box::new(negation(cursor)?))));
    }
    comparison(cursor)
}

fn comparison(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let mut left = bits(cursor)?;
    loop {
        if cursor.is_after_expression() {
            return Ok(left);
        }
        let operator = COMPARISONS.iter().find(|(symbol, _)| cursor.symbol(symbol));
        left = if let Some((_, operator)) = operator {
            unserved::quantifier(cursor)?;
            Expr::binary(*operator, left, bits(cursor)?)
        } else if cursor.word("IS") {
            is(cursor, left)?
        } else {
            let negated = PREDICATES.iter().any(|word| cursor.is_word_at(1, word)) && cursor.word("NOT");
            match cursor.one_of(&PREDICATES) {
                Some("IN") => within(cursor, left, negated)?,
                Some("LIKE") => like(cursor, left, negated)?,
                Some("BETWEEN") => between(cursor, left, negated)?,
                Some(_) => Expr::Regexp { value: Box::new(left), pattern: Box::new(bits(cursor)?), negated },
                None if !negated && cursor.words(&["SOUNDS", "LIKE"]) => {
                    let (left, right) = (sound(cursor, left)?, bits(cursor)?);
                    Expr::binary(Operator::Equal, left, sound(cursor, right)?)
                }
                None => {
                    unserved::operator(cursor)?;
                    return Ok(left);
                }
            }
        };
        cursor.count_operator()?;
    }
}

/// What may stand behind NOT.
const PREDICATES: [&str; 5] = ["IN", "LIKE", "BETWEEN", "REGEXP", "RLIKE"];

fn sound(cursor: &mut Cursor<'_>, of: Expr) -> Parsing<Expr> {
    Ok(Expr::Call { at: cursor.count_call()?, function: Function::Soundex, args: vec![of] })
}

/// `LIKE pattern [ESCAPE 'c']`: an empty text escapes nothing.
fn like(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> Parsing<Expr> {
    let pattern = Box::new(sum(cursor)?);
    let default = if cursor.dialect.no_backslash_escapes { None } else { ESCAPE };
    let escape = if cursor.word("ESCAPE") { escape(cursor)? } else { default };
    Ok(Expr::Like { value: Box::new(value), pattern, escape, negated })
}

fn escape(cursor: &mut Cursor<'_>) -> Parsing<Option<char>> {
    let Some(Token::Text(text)) = cursor.next() else { return Err(cursor.unexpected()) };
    let text = text_of(text);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => Err(SqlError::WrongArguments("ESCAPE".to_owned())),
    }
}

const COMPARISONS: [(&str, Operator); 8] = [
    ("<=>", Operator::NullSafeEqual),
    ("=", Operator::Equal),
    ("<>", Operator::NotEqual),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    ("<", Operator::Less),
    (">=", Operator::GreaterOrEqual),
    (">", Operator::Greater),
];

fn is(cursor: &mut Cursor<'_>, value: Expr) -> Parsing<Expr> {
    let negated = cursor.word("NOT");
    let value = Box::new(value);
    match cursor.one_of(&["NULL", "UNKNOWN", "TRUE", "FALSE"]) {
        Some("NULL" | "UNKNOWN") => Ok(Expr::IsNull(value, negated)),
        Some(truth) => Ok(Expr::IsBool { value, wanted: truth == "TRUE", negated }),
        None => Err(cursor.unexpected()),
    }
}

fn within(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> Parsing<Expr> {
    cursor.expect("(")?;
    if unserved::is_query(cursor) && !cursor.is_symbol("(") {
        return Err(lack(unserved::SUBQUERIES));
    }
    let list = cursor.list(expr)?;
    cursor.expect(")")?;
    Ok(Expr::In { value: Box::new(value), list, negated })
}

fn between(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> Parsing<Expr> {
    let low = Box::new(bits(cursor)?);
    cursor.expect_word("AND")?;
    let high = Box::new(bits(cursor)?);
    Ok(Expr::Between { value: Box::new(value), low, high, negated })
}

pub(super) fn bits(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let both = |cursor: &mut Cursor<'_>| {
        chain(cursor, shifted, |cursor| cursor.symbol("&").then_some(Operator::BitAnd))
    };
    chain(cursor, both, |cursor| cursor.symbol("|").then_some(Operator::BitOr))
}

fn shifted(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, sum, |cursor| match cursor.peek() {
        Some(Token::Symbol("<<")) => cursor.symbol("<<").then_some(Operator::ShiftLeft),
        Some(Token::Symbol(">>")) => cursor.symbol(">>").then_some(Operator::ShiftRight),
        _ => None,
    })
}

/// Of an interval, what it is added to decides what comes of it.
fn sum(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let mut left = product(cursor)?;
    loop {
        let operator = match cursor.peek() {
            Some(Token::Symbol("+")) => Operator::Plus,
            Some(Token::Symbol("-")) => Operator::Minus,
            _ => return Ok(left),
        };
        cursor.next();
        cursor.count_operator()?;
        left = if dates::is_interval(cursor) {
            let interval = dates::interval(cursor)?;
            dates::shifted(cursor, operator, left, interval)?
        } else {
            Expr::binary(operator, left, product(cursor)?)
        };
    }
}

pub(super) fn product(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let either = |cursor: &mut Cursor<'_>| {
        chain(cursor, concatenation, |cursor| cursor.symbol("^").then_some(Operator::BitXor))
    };
    chain(cursor, either, |cursor| {
        let operators = [("*", Operator::Times), ("/", Operator::Divide), ("%", Operator::Modulo)];
        let symbol = operators.iter().find(|(symbol, _)| cursor.symbol(symbol)).map(|found| found.1);
        symbol.or_else(|| match cursor.one_of(&["DIV", "MOD"])? {
            "DIV" => Some(Operator::IntegerDivide),
            _ => Some(Operator::Modulo),
        })
    })
}

fn concatenation(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, unary, |cursor| {
        (cursor.dialect.pipes_as_concat && cursor.symbol("||")).then_some(Operator::Concat)
    })
}

fn unary(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    if cursor.symbol("-") {
        return cursor.deeper(|cursor| Ok(minus(unary(cursor)?)));
    }
    if cursor.symbol("+") {
        return cursor.deeper(unary);
    }
    if cursor.symbol("~") {
        return cursor.deeper(|cursor| Ok(Expr::Invert(Box::new(unary(cursor)?))));
    }
    if cursor.symbol("!") || cursor.dialect.high_not && cursor.word("NOT") {
        return cursor.deeper(|cursor| Ok(Expr::Not(Box::new(unary(cursor)?))));
    }
    if cursor.word("BINARY") {
        return cursor.deeper(|cursor| Ok(Expr::Cast(Box::new(unary(cursor)?), Cast::Binary(None))));
    }
    let mut value = primary(cursor)?;
    while cursor.word("COLLATE") {
        value = collated(value, &cursor.name()?)?;
    }
    Ok(value)
}

/// Names of locks have a collation of their own; what is compared has this one.
fn collated(value: Expr, collation: &str) -> Parsing<Expr> {
    let collation = Collation::named(collation)?.name;
    let exact = collation.ends_with("_bin") || collation.ends_with("_cs") || collation == "binary";
    Ok(Expr::Collate { value: Box::new(value), collation: collation.into(), exact })
}

/// A number with its sign is a literal: an exact one where it is no BIGINT.
fn minus(value: Expr) -> Expr {
    let exact = |digits: i128| Expr::Literal(Value::Decimal(Decimal { digits, scale: 0 }));
    match value {
        Expr::Literal(Value::Int(number)) if number != i64::MIN => Expr::Literal(Value::Int(-number)),
        Expr::Literal(Value::Int(number)) => exact(-i128::from(number)),
        Expr::Literal(Value::UInt(number)) if number == 1 << 63 => Expr::Literal(Value::Int(i64::MIN)),
        Expr::Literal(Value::UInt(number)) => exact(-i128::from(number)),
        Expr::Literal(Value::Decimal(Decimal { digits, scale })) => {
            Expr::Literal(Value::Decimal(Decimal { digits: digits.saturating_neg(), scale }))
        }
        Expr::Literal(Value::Double(double)) => Expr::Literal(Value::Double(-double)),
        other => Expr::Minus(Box::new(other)),
    }
}
