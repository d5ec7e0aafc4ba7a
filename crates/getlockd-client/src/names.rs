//! The names of the locks that one call takes.

use std::fmt;

use getlockd_proto::{
    escape::Written,
    name::{self, lower},
    timeout::Timeout,
};

use crate::{Error, Mode};

/// One lock, or several that are taken at once: all of them or none. From a name, an array, a slice or a vector of
/// names. A name that is given twice counts once.
///
/// ```
/// use getlockd_client::Names;
///
/// assert_eq!(Names::from("a"), Names::from(["a"]));
/// assert_eq!(Names::from(["a", "b", "A"]), Names::from(vec!["a".to_owned(), "b".to_owned()]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    fn of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut different: Vec<String> = Vec::new();
        for name in names {
            let name = name.as_ref();
            if !different.iter().any(|other| lower::<String>(other) == lower::<String>(name)) {
                different.push(name.to_owned());
            }
        }
        Self(different)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Err(name::NameError::Empty.into());
        }
        self.0.iter().try_for_each(|name| name::check(name)).map_err(Error::from)
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The first one.
    pub(crate) fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// As the server lists them: in lower case.
    pub(crate) fn folded(&self) -> Vec<String> {
        self.0.iter().map(|name| lower(name)).collect()
    }

    /// The line that asks for them. One name is asked for by the command that servers of all versions know.
    pub(crate) fn request(&self, mode: Mode, timeout: Timeout) -> String {
        let plural = self.plural();
        match mode {
            Mode::Exclusive => format!("GET_LOCK{plural} {self} {timeout}\n"),
            Mode::Shared => format!("GET_SHARED_LOCK{plural} {self} {timeout}\n"),
            Mode::Permit(limit) => format!("GET_PERMIT {self} {limit} {timeout}\n"),
        }
    }

    /// The line that releases them.
    pub(crate) fn release(&self) -> String {
        format!("RELEASE_LOCK{} {self}\n", self.plural())
    }

    fn plural(&self) -> &'static str {
        if self.0.len() == 1 { "" } else { "S" }
    }
}

/// As arguments of a command of the line protocol.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { " " }, Written(name))?;
        }
        Ok(())
    }
}

impl From<&str> for Names {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl From<&String> for Names {
    fn from(name: &String) -> Self {
        Self(vec![name.clone()])
    }
}

impl From<String> for Names {
    fn from(name: String) -> Self {
        Self(vec![name])
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for Names {
    fn from(names: [S; N]) -> Self {
        Self::of(names)
    }
}

impl<S: AsRef<str>, const N: usize> From<&[S; N]> for Names {
    fn from(names: &[S; N]) -> Self {
        Self::of(names)
    }
}

impl<S: AsRef<str>> From<&[S]> for Names {
    fn from(names: &[S]) -> Self {
        Self::of(names)
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Names {
    fn from(names: Vec<S>) -> Self {
        Self::of(names)
    }
}

impl<S: AsRef<str>> From<&Vec<S>> for Names {
    fn from(names: &Vec<S>) -> Self {
        Self::of(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_name_uses_the_singular_command() {
        let one = Names::from(["two words", "Two Words"]);
        assert_eq!(one.request(Mode::Exclusive, Timeout::Forever), "GET_LOCK 'two words' -1\n");
        assert_eq!(one.request(Mode::Shared, Timeout::NONE), "GET_SHARED_LOCK 'two words' 0.000000000\n");
        assert_eq!(one.request(Mode::Permit(3), Timeout::NONE), "GET_PERMIT 'two words' 3 0.000000000\n");
        assert_eq!(one.release(), "RELEASE_LOCK 'two words'\n");
    }

    #[test]
    fn several_names_make_a_single_request() {
        let both = Names::from(["a", "b c"]);
        assert_eq!(both.request(Mode::Exclusive, Timeout::NONE), "GET_LOCKS a 'b c' 0.000000000\n");
        assert_eq!(both.request(Mode::Shared, Timeout::NONE), "GET_SHARED_LOCKS a 'b c' 0.000000000\n");
        assert_eq!(both.release(), "RELEASE_LOCKS a 'b c'\n");
        assert!(Names::from(Vec::<String>::new()).check().is_err() && both.check().is_ok());
    }
}
