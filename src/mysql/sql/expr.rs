//! Expressions (MySQL manual, chapter 14), by precedence (14.4.1).

use super::{
    ast::{Cast, Expr, Operator},
    cursor::Cursor,
    lex::Token,
    parse::Parsing,
    primary::primary,
    unserved::{self, lack},
};
use crate::mysql::value::{Decimal, Value};

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
    if cursor.word("NOT") {
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
            let negated =
                ["IN", "LIKE", "BETWEEN"].iter().any(|word| cursor.is_word_at(1, word)) && cursor.word("NOT");
            match cursor.one_of(&["IN", "LIKE", "BETWEEN"]) {
                Some("IN") => within(cursor, left, negated)?,
                Some("LIKE") => like(cursor, left, negated)?,
                Some(_) => between(cursor, left, negated)?,
                None => {
                    unserved::operator(cursor)?;
                    return Ok(left);
                }
            }
        };
        cursor.count_operator()?;
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

fn like(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> Parsing<Expr> {
    let pattern = Box::new(sum(cursor)?);
    if cursor.word("ESCAPE")
        && !matches!(primary(cursor)?, Expr::Literal(Value::Text(escape)) if escape == "\\")
    {
        return Err(lack(unserved::ESCAPES));
    }
    Ok(Expr::Like { value: Box::new(value), pattern, negated })
}

fn between(cursor: &mut Cursor<'_>, value: Expr, negated: bool) -> Parsing<Expr> {
    let low = Box::new(sum(cursor)?);
    cursor.expect_word("AND")?;
    let high = Box::new(sum(cursor)?);
    Ok(Expr::Between { value: Box::new(value), low, high, negated })
}

fn bits(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    let both =
        |cursor: &mut Cursor<'_>| chain(cursor, sum, |cursor| cursor.symbol("&").then_some(Operator::BitAnd));
    chain(cursor, both, |cursor| cursor.symbol("|").then_some(Operator::BitOr))
}

fn sum(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, product, |cursor| match cursor.peek() {
        Some(Token::Symbol("+")) => cursor.symbol("+").then_some(Operator::Plus),
        Some(Token::Symbol("-")) => cursor.symbol("-").then_some(Operator::Minus),
        _ => None,
    })
}

fn product(cursor: &mut Cursor<'_>) -> Parsing<Expr> {
    chain(cursor, concatenation, |cursor| {
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
    if cursor.symbol("!") {
        return cursor.deeper(|cursor| Ok(Expr::Not(Box::new(unary(cursor)?))));
    }
    if cursor.word("BINARY") {
        return cursor.deeper(|cursor| Ok(Expr::Cast(Box::new(unary(cursor)?), Cast::Binary)));
    }
    let value = primary(cursor)?;
    if cursor.word("COLLATE") {
        // Names of locks have a collation of their own.
        cursor.name()?;
    }
    Ok(value)
}

/// A number with its sign is a literal.
fn minus(value: Expr) -> Expr {
    match value {
        Expr::Literal(Value::Int(number)) if number != i64::MIN => Expr::Literal(Value::Int(-number)),
        Expr::Literal(Value::UInt(number)) if number == 1 << 63 => Expr::Literal(Value::Int(i64::MIN)),
        Expr::Literal(Value::Decimal(Decimal { digits, scale })) => {
            Expr::Literal(Value::Decimal(Decimal { digits: digits.saturating_neg(), scale }))
        }
        Expr::Literal(Value::Double(double)) => Expr::Literal(Value::Double(-double)),
        other => Expr::Minus(Box::new(other)),
    }
}
