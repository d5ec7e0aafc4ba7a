//! Regular expressions with the crate `regex`, whose time grows only with the string. What it lacks, such as
//! backreferences, is an error that says so.

use std::{convert::Infallible, ops::Range, sync::Arc};

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{
    Ast, ClassPerl, ClassPerlKind, ClassSetItem, ClassUnicode, ClassUnicodeKind, Error, ErrorKind, Span,
    Visitor, parse::Parser, visit,
};

use super::{CallArgs, length};
use crate::{
    core::budget::Charge,
    wires::mysql::{
        error::{RegexpError, SqlError},
        sql::{
            builtin::Function,
            env::{Env, EvalResult},
        },
        value::Value,
        work::STEP,
    },
};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

/// The size limits of a compiled pattern, in bytes, and the resulting cost of a byte of the searched string, in units
/// of work. The smallest limit that suffices is charged, since a small program searches faster.
const PROGRAMS: [(usize, usize); 3] = [(1 << 14, 16), (1 << 16, 64), (1 << 18, 256)];

/// The memory for a program, its caches and its intermediate forms, in sizes of the program.
const PARTS: usize = 2;

pub(super) fn value(args: &CallArgs<'_>) -> Option<EvalResult> {
    match args.function {
        Function::RegexpLike | Function::RegexpInstr | Function::RegexpSubstr | Function::RegexpReplace => {
            Some(searched(args))
        }
        _ => None,
    }
}

/// `text REGEXP pattern`
pub(in crate::wires::mysql::sql) fn matches(env: &Env<'_>, text: &Value, pattern: &Value) -> EvalResult {
    let values = [text.clone(), pattern.clone()];
    if values.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    searched(&CallArgs::new(env, Function::RegexpLike, &values))
}

fn searched(args: &CallArgs<'_>) -> EvalResult {
    if args.is_binary() {
        return Err(RegexpError::Charset(args.function.name()).into());
    }
    let (text, pattern) = (args.text(0), args.text(1));
    // Where the flags stand, and the other arguments in front of them.
    let flags = match args.function {
        Function::RegexpLike => 2,
        Function::RegexpInstr | Function::RegexpReplace => 5,
        _ => 4,
    };
    let flags = if args.values.len() > flags { args.text(flags) } else { String::new() };
    let mark = args.env.work.mark();
    let pattern = Pattern::of(args.env, &pattern, &flags)?;
    args.env.work.spend(pattern.cost.saturating_mul(text.len() + 1))?;
    let search = RegexpSearch { args, pattern, text };
    let found = search.result();
    args.env.work.forget_since(mark);
    found
}

/// A pattern, and the string that is searched.
struct RegexpSearch<'a> {
    args: &'a CallArgs<'a>,
    pattern: Arc<Pattern>,
    text: String,
}

impl RegexpSearch<'_> {
    fn result(&self) -> EvalResult {
        Ok(match self.args.function {
            Function::RegexpLike => self.pattern.regex.is_match(&self.text).into(),
            Function::RegexpInstr => {
                let wants_end = self.optional(4, 0);
                if !(0..=1).contains(&wants_end) {
                    let wrong = "regexp_instr: return_option must be 1 or 0.".to_owned();
                    return Err(SqlError::WrongArguments(wrong).into());
                }
                self.occurrence(2, 3)?.map_or(Value::Int(0), |found| {
                    let end = if wants_end == 1 { found.end } else { found.start };
                    length(self.text[..end].chars().count() + 1)
                })
            }
            Function::RegexpSubstr => {
                self.occurrence(2, 3)?.map_or(Value::Null, |found| Value::text(&self.text[found]))
            }
            _ => self.replaced()?,
        })
    }

    fn optional(&self, at: usize, default: i64) -> i64 {
        if self.args.values.len() > at { self.args.int(at) } else { default }
    }

    /// The byte at which a search starts, for the character in this argument.
    fn start(&self, at: usize) -> EvalResult<usize> {
        let position =
            usize::try_from(self.optional(at, 1)).ok().and_then(|position| position.checked_sub(1));
        let mut starts = self.text.char_indices().map(|(at, _)| at).chain([self.text.len()]);
        position.and_then(|position| starts.nth(position)).ok_or_else(|| RegexpError::Index.into())
    }

    /// The position after a match, which may be empty. Finding each further match may take as long as the first.
    fn behind(&self, found: &Range<usize>) -> EvalResult<Option<usize>> {
        let mut next = found.end;
        if found.is_empty() {
            next += self.text[next..].chars().next().map_or(1, char::len_utf8);
        }
        let left = self.text.len().saturating_sub(next);
        self.args.env.work.spend(STEP + self.pattern.cost * left / 16)?;
        Ok((next <= self.text.len()).then_some(next))
    }

    /// The occurrence with the number in one argument, from the position in another on.
    fn occurrence(&self, from: usize, number: usize) -> EvalResult<Option<Range<usize>>> {
        let (mut at, mut left) = (Some(self.start(from)?), self.optional(number, 1).max(1));
        while let Some(start) = at {
            let Some(found) = self.pattern.regex.find_at(&self.text, start) else { return Ok(None) };
            left -= 1;
            if left == 0 {
                return Ok(Some(found.range()));
            }
            at = self.behind(&found.range())?;
        }
        Ok(None)
    }

    /// Replaces one occurrence, or all of them from a position on.
    fn replaced(&self) -> EvalResult {
        let (template, number) = (self.args.text(2), self.optional(4, 0));
        let (mut made, mut end, mut count) = (String::new(), 0, 0);
        let mut at = Some(self.start(3)?);
        while let Some(found) = at.and_then(|at| self.pattern.regex.captures_at(&self.text, at)) {
            let whole = found.get(0).map_or(0..0, |whole| whole.range());
            count += 1;
            if number <= 0 || count == number {
                let before = made.len();
                made.push_str(&self.text[end..whole.start]);
                expand(&template, &found, &mut made)?;
                end = whole.end;
                self.args.env.work.text(template.len() + made.len() - before)?;
            }
            let is_done = count == number || made.len() > self.args.env.system.settings().max_packet;
            at = if is_done { None } else { self.behind(&whole)? };
        }
        made.push_str(&self.text[end..]);
        Ok(self.args.bounded(made.len(), || Value::Text(made)))
    }
}

/// `$1` is the first group, and `\\` takes the next character literally.
fn expand(template: &str, found: &regex::Captures<'_>, made: &mut String) -> EvalResult<()> {
    let mut rest = template.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => made.extend(rest.next()),
            '$' => {
                let group = rest.next().and_then(|c| c.to_digit(10)).ok_or(RegexpError::Group)?;
                let group = usize::try_from(group).unwrap_or(usize::MAX);
                if group >= found.len() {
                    return Err(RegexpError::Index.into());
                }
                made.push_str(found.get(group).map_or("", |group| group.as_str()));
            }
            c => made.push(c),
        }
    }
    Ok(())
}

/// A compiled pattern.
#[derive(Debug)]
pub(in crate::wires::mysql) struct Pattern {
    source: String,
    flags: String,
    regex: Regex,
    /// The cost of a byte of a string.
    cost: usize,
    /// The total cost so far.
    _charge: Charge,
}

impl Pattern {
    /// Compiles a pattern, once for all rows of a table.
    fn of(env: &Env<'_>, source: &str, flags: &str) -> EvalResult<Arc<Self>> {
        match env.lookup {
            Some(lookup) => lookup.pattern(
                |known| known.source == source && known.flags == flags,
                || Self::compile(env, source, flags),
            ),
            None => Ok(Arc::new(Self::compile(env, source, flags)?)),
        }
    }

    fn compile(env: &Env<'_>, source: &str, flags: &str) -> EvalResult<Self> {
        let mut builder = builder(source, flags)?;
        let effort = effort(&Parser::new().parse(source).map_err(|error| wrong(&error))?);
        let mut charge = Charge::default();
        for (size, cost) in PROGRAMS {
            env.work.spend(effort + PARTS * size)?;
            env.work.resize(&mut charge, PARTS * size + source.len() + flags.len())?;
            match builder.size_limit(size).dfa_size_limit(size).build() {
                Ok(regex) => {
                    let (source, flags) = (source.to_owned(), flags.to_owned());
                    return Ok(Self { source, flags, regex, cost, _charge: charge });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => return Err(RegexpError::Syntax { line: 1, column: 1 }.into()),
            }
        }
        Err(RegexpError::TooBig.into())
    }
}

fn builder(pattern: &str, flags: &str) -> EvalResult<RegexBuilder> {
    if pattern.is_empty() {
        return Err(RegexpError::Empty.into());
    }
    if pattern.len() > MAX_PATTERN {
        return Err(SqlError::TooComplex.into());
    }
    let mut builder = RegexBuilder::new(pattern);
    // Case is ignored like in the collation, unless a flag says otherwise.
    builder.case_insensitive(true);
    for flag in flags.chars() {
        match flag {
            'c' => builder.case_insensitive(false),
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            'n' => builder.dot_matches_new_line(true),
            'u' => &mut builder,
            _ => return Err(RegexpError::Flag.into()),
        };
    }
    Ok(builder)
}

/// MySQL's error for an invalid pattern, or one that this crate does not support.
fn wrong(error: &Error) -> SqlError {
    match error.kind() {
        ErrorKind::UnsupportedLookAround => {
            SqlError::NoSuchThing("its regular expressions have no lookaround".to_owned())
        }
        ErrorKind::UnsupportedBackreference => {
            SqlError::NoSuchThing("its regular expressions have no backreferences".to_owned())
        }
        kind => of_kind(kind, error.span()).into(),
    }
}

fn of_kind(kind: &ErrorKind, span: &Span) -> RegexpError {
    match kind {
        ErrorKind::GroupUnclosed | ErrorKind::GroupUnopened => RegexpError::Parenthesis,
        ErrorKind::ClassUnclosed => RegexpError::Bracket,
        ErrorKind::ClassRangeInvalid => RegexpError::Range,
        ErrorKind::RepetitionCountInvalid => RegexpError::MaxBelowMin,
        ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::DecimalEmpty
        | ErrorKind::DecimalInvalid => RegexpError::Interval,
        ErrorKind::EscapeUnrecognized | ErrorKind::EscapeUnexpectedEof => RegexpError::Escape,
        _ => RegexpError::Syntax { line: span.start.line, column: span.start.column },
    }
}

/// The cost of each character of a range, in units of work. Measured, as are the others.
const CHARACTER: usize = 2;

/// The cost of a class of all characters, or of nearly all.
const ALL: usize = CHARACTER * 0x0011_0000;

/// The cost of a Unicode class, and of `\w`.
const NAMED: usize = 512 * 1024;
const WORD: usize = 256 * 1024;

/// The cost of any other part.
const PART: usize = 64;

/// The cost of compiling a pattern, in units of work.
///
/// A class costs most: the compiler looks up the other cases of each of its characters.
pub(super) fn effort(pattern: &Ast) -> usize {
    visit(pattern, Effort(0)).unwrap_or_else(|never| match never {})
}

struct Effort(usize);

impl Visitor for Effort {
    type Output = usize;
    type Err = Infallible;

    fn finish(self) -> Result<usize, Infallible> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Infallible> {
        self.0 += match ast {
            Ast::ClassUnicode(class) => of_unicode(class),
            Ast::ClassPerl(class) => of_perl(class),
            _ => PART,
        };
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        self.0 += match item {
            ClassSetItem::Range(range) => {
                let characters = u32::from(range.end.c).saturating_sub(u32::from(range.start.c));
                PART + CHARACTER * characters as usize
            }
            // A negated class may have nearly all characters, and within a larger class they are looked at again.
            ClassSetItem::Unicode(class) if class.is_negated() => ALL,
            ClassSetItem::Perl(class) if class.negated => ALL,
            ClassSetItem::Ascii(class) if class.negated => ALL,
            ClassSetItem::Bracketed(class) if class.negated => ALL,
            ClassSetItem::Unicode(class) => of_unicode(class),
            ClassSetItem::Perl(class) => of_perl(class),
            _ => PART,
        };
        Ok(())
    }
}

fn of_perl(class: &ClassPerl) -> usize {
    if class.kind == ClassPerlKind::Word { WORD } else { WORD / 16 }
}

fn of_unicode(class: &ClassUnicode) -> usize {
    let is_any = |name: &str| name.to_ascii_lowercase().contains("any");
    match &class.kind {
        ClassUnicodeKind::Named(name) if is_any(name) => ALL,
        _ => NAMED,
    }
}

#[cfg(test)]
mod tests {
    use regex_syntax::ast::parse::Parser;

    use super::*;
    use crate::wires::mysql::work::MAX_STRETCH;

    fn effort_of(pattern: &str) -> usize {
        effort(&Parser::new().parse(pattern).unwrap())
    }

    #[test]
    fn large_patterns_are_refused() {
        for pattern in
            [r"^[\w.+-]+@[\w-]+\.[\w.]+$", r"[\s\S]*nightly", r"^\p{Lu}\p{Ll}+-\d+$", "[^a-z]", "."]
        {
            assert!(effort_of(pattern) < MAX_STRETCH / 3, "{pattern}");
        }
        for class in [
            "[!-\u{10FFFF}]",
            r"[\x00-\x{10FFFF}]",
            r"\p{Any}",
            r"\P{aNy}",
            r"[\Wa]",
            r"[[^a]b]",
            r"[[:^alpha:]b]",
        ] {
            assert!(effort_of(class) > ALL / 2, "{class}");
            assert!(effort_of(&class.repeat(10)) > MAX_STRETCH, "{class}");
        }
        assert!(effort_of(&r"\pL".repeat(300)) > MAX_STRETCH);
    }
}
