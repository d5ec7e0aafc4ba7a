//! SET: all names are looked at, then all values, and then all are set (MySQL manual 15.7.6.1).

use super::{
    charset::Charset,
    error::{SqlError, Warning},
    names::{MAX_IDENTIFIER_CHARS, is_longer},
    run::{Ran, Runner},
    sql::{Assignment, Expr},
    value::Value,
    variables::{Variable, VariableError, Variables},
};

/// What is left to do of an assignment whose value is known.
enum Checked {
    User(String, Value),
    System(&'static Variable, Option<Value>),
    Names(Charset, Option<String>),
}

impl Runner<'_> {
    /// Cancel-safe: dropped before it is done, it has set nothing.
    pub(super) async fn set(&mut self, assignments: &[Assignment]) -> Ran<()> {
        // A name that is none comes before all that is wrong elsewhere.
        for assignment in assignments {
            if let Assignment::System { name, .. } = assignment {
                variable(name)?;
            }
        }
        for assignment in assignments {
            self.resolve(assignment)?;
        }
        let mut checked = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            checked.push(self.check(assignment).await?);
        }
        for assignment in checked {
            match assignment {
                Checked::User(name, value) => self.state.set_user(name, value)?,
                Checked::System(variable, value) => self.state.set_variable(variable, value)?,
                Checked::Names(charset, collation) => self.state.variables.set_names(charset, collation),
            }
        }
        Ok(())
    }

    /// Whether there is such a variable, which can be set, and whether there is all that its value names.
    fn resolve(&mut self, assignment: &Assignment) -> Ran<()> {
        let value = match assignment {
            Assignment::User(_, value) => Some(value),
            Assignment::System { global, name, value } => {
                let variable = variable(name)?;
                if let Some(warning) = variable.deprecation() {
                    self.env(None).warn(warning);
                }
                Variables::check_settable(variable, *global).map_err(SqlError::from)?;
                if *global {
                    return Err(self.no_globals().into());
                }
                value.as_ref()
            }
            Assignment::Names { charset, collation } => {
                names(charset.as_deref(), collation.as_deref())?;
                None
            }
        };
        if let Some(value) = value {
            self.env(None).type_of(value)?;
        }
        Ok(())
    }

    /// Nobody sets variables of the server: a user may not, and where there are none it has flags.
    fn no_globals(&self) -> SqlError {
        if self.session.user().is_some() {
            return VariableError::Privilege("SUPER or SYSTEM_VARIABLES_ADMIN").into();
        }
        SqlError::NoSuchThing("its settings are flags of the server".to_owned())
    }

    async fn check(&mut self, assignment: &Assignment) -> Ran<Checked> {
        Ok(match assignment {
            Assignment::User(name, value) => Checked::User(name.to_lowercase(), self.value(value).await?),
            Assignment::System { name, value, .. } => {
                let value = self.setting(value.as_ref()).await?;
                let variable = variable(name)?;
                let of_user = self.session.user().is_some();
                let mut warnings = Vec::new();
                let value = self.state.variables.checked(variable, value.as_ref(), of_user, &mut warnings)?;
                warnings.extend(variable.warning.map(|(code, text)| Warning::new(code, text)));
                for warning in warnings {
                    self.env(None).warn(warning);
                }
                Checked::System(variable, value)
            }
            Assignment::Names { charset, collation } => {
                Checked::Names(names(charset.as_deref(), collation.as_deref())?, collation.clone())
            }
        })
    }

    async fn setting(&mut self, value: Option<&Expr>) -> Ran<Option<Value>> {
        match value {
            Some(value) => self.value(value).await.map(Some),
            None => Ok(None),
        }
    }
}

fn variable(name: &str) -> Result<&'static Variable, SqlError> {
    Variable::named(name).ok_or_else(|| VariableError::Unknown(name.to_owned()).into())
}

/// The character set of SET NAMES, which must be that of the collation too.
fn names(charset: Option<&str>, collation: Option<&str>) -> Result<Charset, SqlError> {
    let wanted = charset.unwrap_or(Charset::default().name());
    let charset = Charset::named(wanted).ok_or_else(|| SqlError::UnknownCharset(wanted.to_owned()))?;
    match collation {
        Some(collation)
            if is_longer(collation, MAX_IDENTIFIER_CHARS)
                || Charset::of_collation(collation) != Some(charset) =>
        {
            Err(SqlError::UnknownCollation(collation.to_owned()))
        }
        _ => Ok(charset),
    }
}
