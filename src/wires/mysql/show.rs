//! SHOW: what interactive clients, ORMs and monitors ask for. Lists are tables under other names; they are in `list`.

use super::{
    catalog::{self, CatalogError, GETLOCKD, SCHEMAS, SHOW, Source, Table},
    error::{SqlError, Warning},
    executor::{ExecResult, Executor},
    result::{Column, Outcome, columns, fixed, table_of},
    sql::{Show, ShowList, TableName},
    value::Value,
    virtual_tables::Scan,
};

/// How many characters of a statement SHOW PROCESSLIST shows without FULL.
const SHORT: usize = 100;

impl Executor<'_> {
    pub(super) async fn show(&mut self, show: &Show) -> ExecResult<Outcome> {
        match show {
            Show::List(list) => self.listed(list).await,
            Show::Columns(name, list) => {
                let of = self.table(name)?;
                let scan = Scan { schema: Some(of.schema), table: Some(of.name), ..Scan::ALL };
                let columns = columns(list.table, "", None);
                self.rows(list.table, scan, list, columns).await
            }
            Show::Index(name) => {
                self.table(name)?;
                Ok(fixed("INDEX", "", Vec::new()))
            }
            Show::CreateTable(name) => {
                let table = self.table(name)?;
                let why = format!("{}.{} is built in and has no CREATE statement", table.schema, table.name);
                Err(SqlError::NoSuchThing(why).into())
            }
            Show::Check(kind, names) => Ok(self.check(kind, names)?),
            other => Ok(self.single(other)?),
        }
    }

    /// Statements whose result is one row, or an error.
    fn single(&self, show: &Show) -> Result<Outcome, SqlError> {
        match show {
            Show::Count { errors_only } => {
                let warnings = self.state.warnings.borrow();
                let count = warnings.iter().filter(|w| !errors_only || w.level == "Error").count();
                let list = if *errors_only { "COUNT ERRORS" } else { "COUNT WARNINGS" };
                Ok(fixed(list, "", vec![vec![Value::UInt(count as u64)]]))
            }
            Show::CreateDatabase { name, if_not_exists } => self.create_database(name, *if_not_exists),
            Show::Stored { error, database } => {
                if database.is_none() {
                    self.database()?;
                }
                Err(error.clone().into())
            }
            Show::Grants(account) => {
                self.check_account(account.as_ref())?;
                // Rights are not what MySQL's GRANT can say: a user's are in the file of users.
                let is_user = self.session.user().is_some();
                let rights = if is_user { "USAGE" } else { "ALL PRIVILEGES" };
                let user = quoted(&self.state.user);
                let grant = format!("GRANT {rights} ON *.* TO {user}@`%`");
                Ok(fixed("GRANTS", &self.account(), vec![vec![Value::Text(grant)]]))
            }
            Show::CreateUser(account) => {
                self.check_account(account.as_ref())?;
                let create = format!("CREATE USER {}@`%`", quoted(&self.state.user));
                Ok(fixed("CREATE USER", &self.account(), vec![vec![Value::Text(create)]]))
            }
            Show::BinaryLogs => {
                self.check_privilege(table_of("BINARY LOGS"))?;
                Err(CatalogError::NoBinaryLog.into())
            }
            Show::Engine(name) => {
                self.check_privilege(table_of("ENGINE"))?;
                let engines = ["INNODB", "PERFORMANCE_SCHEMA"];
                if !engines.iter().any(|engine| engine.eq_ignore_ascii_case(name)) {
                    return Err(CatalogError::NoEngine(name.clone()).into());
                }
                Ok(fixed("ENGINE", "", Vec::new()))
            }
            _ => Ok(Outcome::Done),
        }
    }

    /// The columns of a statement that is only prepared.
    pub(super) fn shown(&self, show: &Show) -> ExecResult<Vec<Column>> {
        Ok(match show {
            Show::List(list) => self.heading(list)?.1,
            Show::Columns(name, list) => {
                self.table(name)?;
                columns(list.table, "", None)
            }
            Show::Index(name) => {
                self.table(name)?;
                fixed("INDEX", "", Vec::new()).columns()
            }
            Show::CreateTable(name) => {
                self.table(name)?;
                Vec::new()
            }
            Show::Check(kind, names) => self.check(kind, names)?.columns(),
            other => self.single(other)?.columns(),
        })
    }

    /// A list: the columns and rows of its table.
    async fn listed(&mut self, list: &ShowList) -> ExecResult<Outcome> {
        let table = list.table;
        let (schema, columns) = self.heading(list)?;
        self.warn_of(table);
        let shown = if table.name == "PROCESSLIST" { SHORT } else { usize::MAX };
        let schema = (table.source == Source::Tables).then_some(&*schema);
        self.rows(table, Scan { schema, shown, ..Scan::ALL }, list, columns).await
    }

    /// The database that a list is about, if there is one, and its columns.
    fn heading(&self, list: &ShowList) -> Result<(String, Vec<Column>), SqlError> {
        let table = list.table;
        self.check_privilege(table)?;
        let schema = match table.name {
            "TABLES" | "FULL TABLES" | "TABLE STATUS" | "TRIGGERS" | "EVENTS" => self.schema_of(list)?,
            _ => String::new(),
        };
        // The name of these columns goes on with the pattern.
        let is_named = matches!(table.name, "DATABASES" | "TABLES" | "FULL TABLES");
        let pattern = list.pattern.as_deref().filter(|_| is_named);
        let columns = columns(table, &schema, pattern);
        Ok((schema, columns))
    }

    /// The database that a list is about, which must exist.
    fn schema_of(&self, list: &ShowList) -> Result<String, SqlError> {
        match &list.database {
            Some(database) if self.has_schema(database) => Ok(database.clone()),
            Some(database) => Err(CatalogError::NoDatabase(database.clone()).into()),
            None => self.database().map(str::to_owned),
        }
    }

    /// The table of this name, if it exists and the user may read it.
    pub(super) fn table(&self, name: &TableName) -> Result<&'static Table, SqlError> {
        let database = match &name.database {
            Some(database) => database,
            None => self.database()?,
        };
        if let Some(table) = catalog::find(database, &name.name).filter(|table| table.schema != SHOW) {
            self.check_privilege(table)?;
            return Ok(table);
        }
        Err(if database.eq_ignore_ascii_case("information_schema") {
            CatalogError::NoInformation(name.name.to_uppercase())
        } else if self.has_schema(database) {
            CatalogError::NoTable(database.to_owned(), name.name.clone())
        } else {
            CatalogError::NoDatabase(database.to_owned())
        }
        .into())
    }

    /// The warnings of a statement that reads a table.
    pub(super) fn warn_of(&mut self, table: &Table) {
        if let Some(warning) = table.warning {
            self.state.warnings.get_mut().push(Warning::new(1287, warning));
        }
    }

    fn database(&self) -> Result<&str, SqlError> {
        self.state.database.as_deref().ok_or(SqlError::NoDatabase)
    }

    fn has_schema(&self, name: &str) -> bool {
        let is_own = self.state.database.as_deref() == Some(name);
        is_own || SCHEMAS.iter().chain([&GETLOCKD]).any(|schema| schema.eq_ignore_ascii_case(name))
    }

    /// Whether this is a user who may not see everything. A user who may see everything has what a monitor needs on
    /// MySQL, PROCESS and REPLICATION CLIENT.
    pub(super) fn is_plain(&self) -> bool {
        self.session.user().is_some_and(|user| !user.may_see_all())
    }

    fn check_privilege(&self, table: &Table) -> Result<(), CatalogError> {
        match table.needs {
            Some("SELECT") if self.is_plain() => Err(self.no_select(table.name)),
            Some(privilege) if self.is_plain() => Err(CatalogError::Privilege(privilege)),
            _ => Ok(()),
        }
    }

    fn no_select(&self, table: &str) -> CatalogError {
        let (user, host) = (self.state.user.clone(), self.state.host.clone());
        CatalogError::Table { user, host, table: table.to_owned() }
    }

    /// Users may ask only about their own account.
    fn check_account(&self, account: Option<&(String, String)>) -> Result<(), SqlError> {
        match account {
            Some((user, host)) if *user != self.state.user || host != "%" => Err(if self.is_plain() {
                self.no_select("user")
            } else {
                CatalogError::NoGrant { user: user.clone(), host: host.clone() }
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// The name of the account, as columns show it.
    fn account(&self) -> String {
        format!("{}@%", self.state.user)
    }

    fn create_database(&self, name: &str, if_not_exists: bool) -> Result<Outcome, SqlError> {
        if !self.has_schema(name) {
            let (user, host, database) = (self.state.user.clone(), self.state.host.clone(), name.to_owned());
            return Err(if self.is_plain() {
                CatalogError::Database { user, host, database }
            } else {
                CatalogError::NoDatabase(database)
            }
            .into());
        }
        let unless = if if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" };
        let create = format!(
            "CREATE DATABASE {unless}{} /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */ \
             /*!80016 DEFAULT ENCRYPTION='N' */",
            quoted(name)
        );
        Ok(fixed("CREATE DATABASE", "", vec![vec![Value::text(name), Value::Text(create)]]))
    }

    /// The result of CHECK TABLE and similar statements, which cannot check any table.
    fn check(&self, kind: &'static str, names: &[TableName]) -> Result<Outcome, SqlError> {
        let mut rows = Vec::new();
        for name in names {
            let database = name.database.as_deref().map_or_else(|| self.database(), Ok)?;
            let full = Value::Text(format!("{database}.{}", name.name));
            let found = self.table(name);
            if kind == "checksum" {
                rows.push(vec![full, Value::Null]);
                self.state.warnings.borrow_mut().extend(found.err().as_ref().map(Warning::of));
                continue;
            }
            let row = |level: &str, text: String| {
                vec![full.clone(), Value::text(kind), Value::text(level), Value::Text(text)]
            };
            match found {
                Ok(_) => {
                    rows.push(row(
                        "note",
                        format!("The storage engine for the table doesn't support {kind}"),
                    ));
                }
                Err(error) => {
                    rows.push(row("Error", error.message()));
                    rows.push(row("status", "Operation failed".to_owned()));
                }
            }
        }
        let list = if kind == "checksum" { "CHECKSUM TABLE" } else { "CHECK TABLE" };
        Ok(fixed(list, "", rows))
    }
}

/// Quotes a name in backquotes.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
