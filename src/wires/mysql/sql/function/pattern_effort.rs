//! What it takes to make a program of a regular expression. Pure.
//!
//! A class costs most, whatever becomes of it: each of its characters is looked at for its other cases.

use std::convert::Infallible;

use regex_syntax::ast::{
    Ast, ClassPerl, ClassPerlKind, ClassSetItem, ClassUnicode, ClassUnicodeKind, Visitor, visit,
};

/// For each character of a range, in units of work. Measured, as are the others.
const CHARACTER: usize = 2;

/// For a class of all characters, or of nearly all.
const ALL: usize = CHARACTER * 0x0011_0000;

/// For a class by its name in Unicode, and for `\w`.
const NAMED: usize = 512 * 1024;
const WORD: usize = 256 * 1024;

/// For any other part.
const PART: usize = 64;

/// The units of work that a pattern takes each time it is made into a program.
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
