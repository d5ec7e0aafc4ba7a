//! SET: all names are checked, then all values, and then all are set (MySQL manual 15.7.6.1).

use super::{
    charset::Charset,
    error::{SqlError, Warning},
    executor::{ExecResult, Executor},
    sql::{Assignment, Expr},
    value::Value,
    variables::{Variable, VariableError, Variables},
};

/// What remains to be done for an assignment whose value is known.
enum Checked {
    User(String, Value),
    System(&'static Variable, Option<Value>),
    Names(Charset),
    CharacterSet(Charset),
}

impl Executor<'_> {
    /// Cancel-safe: dropped before it is done, it has set nothing.
    pub(super) async fn set(&mut self, assignments: &[Assignment]) -> ExecResult<()> {
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
            checked.push(self.check_assignment(assignment).await?);
        }
        for assignment in checked {
            match assignment {
                Checked::User(name, value) => self.state.set_user(name, value)?,
                Checked::System(variable, value) => self.state.set_variable(variable, value)?,
                Checked::Names(charset) => self.state.variables.set_names(charset),
                Checked::CharacterSet(charset) => self.state.variables.set_character_set(charset),
            }
        }
        Ok(())
    }

    /// Checks that the variable exists and can be set, and that everything its value refers to exists.
    fn resolve(&mut self, assignment: &Assignment) -> ExecResult<()> {
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
            Assignment::CharacterSet(charset) => {
                names(charset.as_deref(), None)?;
                None
            }
        };
        if let Some(value) = value {
            self.env(None).type_of(value)?;
        }
        Ok(())
    }

    /// Nobody can set global variables: users may not, and a server without users has flags for them.
    fn no_globals(&self) -> SqlError {
        if self.session.user().is_some() {
            return VariableError::Privilege("SUPER or SYSTEM_VARIABLES_ADMIN").into();
        }
        SqlError::NoSuchThing("its settings are command-line flags".to_owned())
    }

    async fn check_assignment(&mut self, assignment: &Assignment) -> ExecResult<Checked> {
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
                self.warn_of_charset(charset.as_deref());
                Checked::Names(names(charset.as_deref(), collation.as_deref())?)
            }
            Assignment::CharacterSet(charset) => {
                self.warn_of_charset(charset.as_deref());
                Checked::CharacterSet(names(charset.as_deref(), None)?)
            }
        })
    }

    fn warn_of_charset(&self, charset: Option<&str>) {
        if let Some(warning) = charset.and_then(Charset::deprecation) {
            self.env(None).warn(warning);
        }
    }

    async fn setting(&mut self, value: Option<&Expr>) -> ExecResult<Option<Value>> {
        match value {
            Some(value) => self.value(value).await.map(Some),
            None => Ok(None),
        }
    }
}

fn variable(name: &str) -> Result<&'static Variable, SqlError> {
    Variable::named(name).ok_or_else(|| VariableError::Unknown(name.to_owned()).into())
}

/// The character set of SET NAMES, which the collation must belong to.
fn names(charset: Option<&str>, collation: Option<&str>) -> Result<Charset, SqlError> {
    let charset = charset.map_or_else(|| Ok(Charset::default()), Charset::named)?;
    collation.map_or(Ok(charset), |collation| charset.with(collation))
}
