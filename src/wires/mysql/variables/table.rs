//! The table of system variables: `variables.tsv`, read once.

use std::sync::LazyLock;

use super::error::VariableError;
use crate::wires::mysql::{error::Warning, value::Value};

/// A system variable of MySQL 8.4.
#[derive(Debug)]
pub(in crate::wires::mysql) struct Variable {
    pub name: &'static str,
    pub scope: Scope,
    pub kind: VariableKind,
    pub access: Access,
    /// The initial value, when the server and a session start.
    pub initial: Value,
    /// What a session needs in order to set it.
    pub privilege: Option<Privilege>,
    /// `None` if it is not deprecated; otherwise its replacement, which may be empty.
    pub deprecated: Option<&'static str>,
    /// The warning of each SET of it: number and text.
    pub warning: Option<(u16, &'static str)>,
}

/// The scopes in which it has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Scope {
    Global,
    Session,
    Both,
}

/// The type of its value.
#[derive(Debug, PartialEq)]
pub(in crate::wires::mysql) enum VariableKind {
    Flag,
    Number {
        signed: bool,
        least: i128,
        greatest: i128,
        /// Values are rounded down to a multiple of this.
        block: i128,
    },
    Real {
        least: f64,
        greatest: f64,
    },
    Text,
    /// One of these names, or its index.
    Enumeration(Vec<&'static str>),
    /// Some of these names, or a number in which each bit is the index of one. An empty name is an unused bit.
    Set(Vec<&'static str>),
    /// `name=on,name=off` of all of these names.
    Switches(Vec<&'static str>),
}

/// Who may set it, apart from privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) enum Access {
    Dynamic,
    ReadOnly,
    /// A session has its own value, which it cannot set.
    GlobalOnly,
    /// It can be set, but not to DEFAULT.
    NoDefault,
}

/// MySQL privileges, one of which is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Privilege {
    pub names: &'static str,
    /// Whether DEFAULT needs it too.
    pub for_default: bool,
}

impl Variable {
    /// The variable of this name, in lower case.
    pub(in crate::wires::mysql) fn named(name: &str) -> Option<&'static Self> {
        let found = TABLE.binary_search_by_key(&name, |variable| variable.name);
        found.ok().map(|at| &TABLE[at])
    }

    /// The variable that `@@name` refers to.
    ///
    /// # Errors
    /// An error if it does not exist, or has no value in this scope.
    pub(in crate::wires::mysql) fn of_scope(
        scope: Option<Scope>,
        name: &str,
    ) -> Result<&'static Self, VariableError> {
        let variable = Self::named(name).ok_or_else(|| VariableError::Unknown(name.to_owned()))?;
        match (scope, variable.scope) {
            (Some(Scope::Global), Scope::Session) => Err(VariableError::OtherScope(variable.name, "SESSION")),
            (Some(Scope::Session), Scope::Global) => Err(VariableError::OtherScope(variable.name, "GLOBAL")),
            _ => Ok(variable),
        }
    }

    /// The deprecation warning, if there is one.
    pub(in crate::wires::mysql) fn deprecation(&self) -> Option<Warning> {
        let name = self.name;
        let instead = match self.deprecated? {
            "" => String::new(),
            instead => format!(" Please use {instead} instead."),
        };
        let text = format!("'@@{name}' is deprecated and will be removed in a future release.{instead}");
        Some(Warning::new(1287, text))
    }

    /// All variables, by name.
    pub(in crate::wires::mysql) fn all() -> &'static [Self] {
        &TABLE
    }

    /// Parses a line of the file; `None` if it is malformed.
    fn parse(line: &'static str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        let [
            name,
            scope,
            kind,
            access,
            least,
            greatest,
            block,
            names,
            initial,
            privilege,
            deprecated,
            warning,
        ] = fields[..]
        else {
            return None;
        };
        let kind = VariableKind::parse(kind, least, greatest, block, names)?;
        Some(Self {
            name,
            scope: match scope {
                "global" => Scope::Global,
                "session" => Scope::Session,
                "both" => Scope::Both,
                _ => return None,
            },
            access: match access {
                "dynamic" => Access::Dynamic,
                "read_only" => Access::ReadOnly,
                "global_only" => Access::GlobalOnly,
                "no_default" => Access::NoDefault,
                _ => return None,
            },
            initial: kind.value(initial)?,
            kind,
            privilege: filled(privilege).map(|names| match names.strip_prefix("value:") {
                Some(names) => Privilege { names, for_default: false },
                None => Privilege { names, for_default: true },
            }),
            deprecated: filled(deprecated).map(|instead| instead.trim_start_matches('-')),
            warning: match filled(warning) {
                Some(warning) => {
                    let (code, text) = warning.split_once(' ')?;
                    Some((code.parse().ok()?, text))
                }
                None => None,
            },
        })
    }
}

impl VariableKind {
    fn parse(kind: &str, least: &str, greatest: &str, block: &str, names: &'static str) -> Option<Self> {
        let number = |text: &str, otherwise: i128| match filled(text) {
            Some(text) => text.parse().ok(),
            None => Some(otherwise),
        };
        let real = |text: &str, otherwise: f64| match filled(text) {
            Some(text) => text.parse().ok(),
            None => Some(otherwise),
        };
        let names = || names.split(',').collect();
        Some(match kind {
            "flag" => Self::Flag,
            "text" => Self::Text,
            "enum" => Self::Enumeration(names()),
            "set" => Self::Set(names()),
            "switch" => Self::Switches(names()),
            "real" => Self::Real { least: real(least, 0.0)?, greatest: real(greatest, f64::MAX)? },
            "int" | "uint" => {
                let signed = kind == "int";
                let bounds = if signed { (i64::MIN.into(), i64::MAX.into()) } else { (0, u64::MAX.into()) };
                Self::Number {
                    signed,
                    least: number(least, bounds.0)?,
                    greatest: number(greatest, bounds.1)?,
                    block: number(block, 1)?,
                }
            }
            _ => return None,
        })
    }

    /// The value of a text in the file.
    fn value(&self, text: &str) -> Option<Value> {
        if text == r"\N" {
            return Some(Value::Null);
        }
        Some(match self {
            Self::Flag => Value::UInt(text.parse().ok()?),
            Self::Number { signed: true, .. } => Value::Int(text.parse().ok()?),
            Self::Number { signed: false, .. } => Value::UInt(text.parse().ok()?),
            Self::Real { .. } => Value::Double(text.parse().ok()?),
            _ => Value::text(text),
        })
    }
}

fn filled(field: &str) -> Option<&str> {
    (!field.is_empty()).then_some(field)
}

static TABLE: LazyLock<Vec<Variable>> = LazyLock::new(|| lines().filter_map(Variable::parse).collect());

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("variables.tsv").lines().filter(|line| !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_parsed_and_sorted() {
        for line in lines() {
            assert!(Variable::parse(line).is_some(), "{line}");
        }
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(TABLE.len(), lines().count());
        assert!(TABLE.iter().all(|variable| Variable::named(variable.name).is_some()));
        assert!(Variable::named("query_cache_type").is_none());
    }

    #[test]
    fn settable_variables_can_be_checked() {
        for variable in Variable::all() {
            let Variable { name, scope, kind, access, .. } = variable;
            if *scope == Scope::Global || *access != Access::Dynamic {
                continue;
            }
            match kind {
                VariableKind::Number { least, greatest, block, .. } => {
                    assert!(least < greatest && *block > 0 && greatest % block < *block, "{name}");
                }
                VariableKind::Enumeration(names) => {
                    assert!(names.contains(&variable.initial.to_text().unwrap().as_str()), "{name}");
                }
                VariableKind::Set(names) | VariableKind::Switches(names) => {
                    assert!(!names[0].is_empty(), "{name}");
                }
                VariableKind::Flag | VariableKind::Real { .. } | VariableKind::Text => {}
            }
        }
    }

    #[test]
    fn invalid_lines_are_refused() {
        for line in [
            "",
            "a\tb",
            "x\tglobal\tflag\tdynamic\t\t\t\t\tmaybe\t\t\t",
            "x\tall\tflag\tdynamic\t\t\t\t\t1\t\t\t",
        ] {
            assert!(Variable::parse(line).is_none(), "{line:?}");
        }
    }
}
