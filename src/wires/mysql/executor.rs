//! Execution of one statement: what it reads and evaluates, and the effects that its expressions suspend for.
//!
//! An expression is pure: where a call has an effect, as GET_LOCK, its evaluation is suspended, the executor does what
//! the call asks for, waiting if need be, and the expression is evaluated again with the outcome of the call known.

use std::{
    borrow::Cow,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;

use super::{
    catalog::{self, CatalogError, Table},
    clock,
    connection::CloseReason,
    error::{SqlError, Warning},
    lookup::LookupCache,
    names::check_database,
    result::{Column, Outcome, fixed, table_of},
    sql::{
        By, Effect, Env, Expr, Limit, LockQuery, Order, ParsedStatement, Rows, Select, SelectItem,
        SessionInfo, Statement, Suspend, TableName,
    },
    state::State,
    value::Value,
    variables::ServerView,
    work::Work,
};
use crate::{
    core::{
        command::{AcquireAnswer, Answer, Error, LockRequest, LocksRequest, ReleaseAnswer},
        lease::{Delivery, LeaseLockAnswer, Leases},
        lock::SessionId,
        session::{Acquiring, IsFree, ListPermit, Releasing, Session, UsedBy, Waiting, until},
    },
    name::Name,
    net::BufferedSocket,
    wires::socket,
};

/// Why a statement has no outcome.
#[derive(Debug)]
pub(super) enum ExecError {
    Sql(SqlError),
    /// The connection ends as well.
    Close(CloseReason),
}

impl From<SqlError> for ExecError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<CatalogError> for ExecError {
    fn from(error: CatalogError) -> Self {
        Self::Sql(error.into())
    }
}

impl From<Suspend> for ExecError {
    fn from(suspended: Suspend) -> Self {
        Self::Sql(match suspended {
            Suspend::Error(error) => error,
            Suspend::Effect(..) => {
                SqlError::NoSuchThing("it takes and releases no locks row by row".to_owned())
            }
        })
    }
}

pub(super) type ExecResult<T> = Result<T, ExecError>;

/// One statement, with all of the connection that it may use until it is done.
pub(super) struct Executor<'a> {
    pub io: &'a mut BufferedSocket,
    pub session: &'a mut Session,
    pub leases: &'a Arc<Leases>,
    pub state: &'a mut State,
    /// As it was typed.
    pub sql: &'a [u8],
    pub parameters: &'a [Value],
    /// When it came, in microseconds since 1970.
    pub now: i64,
    /// How many calls of the statement have a number.
    calls: usize,
    /// What the calls with an effect have come to, each in the place of its number; empty until it is needed.
    pub outcomes: Vec<Option<Value>>,
    pub lookups: LookupCache,
    /// The leases whose tokens the answer may tell. One that is not told them ends.
    pub deliveries: Vec<Arc<Delivery>>,
    pub deadline: Option<Instant>,
    pub work: Work,
    /// Whether rows are written as those of prepared statements are.
    pub binary: bool,
}

impl<'a> Executor<'a> {
    pub(super) fn new(
        io: &'a mut BufferedSocket,
        session: &'a mut Session,
        leases: &'a Arc<Leases>,
        state: &'a mut State,
        sql: &'a [u8],
        parameters: &'a [Value],
        binary: bool,
    ) -> Self {
        let work = Work::new(&state.budget);
        let now = state.variables.settings().timestamp.unwrap_or_else(clock::now);
        Self {
            io,
            session,
            leases,
            state,
            sql,
            parameters,
            now,
            calls: 0,
            outcomes: Vec::new(),
            lookups: LookupCache::default(),
            deliveries: Vec::new(),
            deadline: None,
            work,
            binary,
        }
    }
}

impl Executor<'_> {
    /// Executes a statement, and leaves what SHOW WARNINGS, ROW_COUNT() and FOUND_ROWS() tell of it.
    ///
    /// Cancel-safe: dropped while it waits for a lock, it leaves the queue.
    pub(super) async fn execute(&mut self, parsed: &ParsedStatement) -> ExecResult<Outcome> {
        // By the rights of now: what is asked row by row, and which tables are shown, goes by those that are known.
        let mut outcome = match self.session.renew_rights() {
            Ok(()) => self.statement(parsed).await,
            Err(error) => Err(SqlError::from(error).into()),
        };
        if let Ok(Outcome::Rows { rows, .. }) = &outcome {
            // All of them are written at once, so what that costs is known and counted before.
            let form = self.form();
            if let Err(error) = rows.iter().try_for_each(|row| self.work.spend(form.effort(row))) {
                outcome = Err(error.into());
            }
        }
        match &outcome {
            Err(ExecError::Sql(error)) => {
                if parsed.is_diagnostic() {
                    self.state.warnings.get_mut().clear();
                }
                self.note_error(error);
            }
            Ok(Outcome::Rows { rows, .. }) => {
                self.state.row_count = -1;
                self.state.found_rows = rows.len() as u64;
            }
            Ok(Outcome::List { lines, .. }) => {
                self.state.row_count = -1;
                self.state.found_rows = lines.found() as u64;
            }
            _ => self.state.row_count = 0,
        }
        outcome
    }

    /// Executes a statement, or the one that EXECUTE names. Fails where there is no memory for what was read out of it.
    ///
    /// Cancel-safe: dropped while it waits for a lock, it leaves the queue.
    pub(super) async fn statement(&mut self, parsed: &ParsedStatement) -> ExecResult<Outcome> {
        self.calls = parsed.calls;
        if !parsed.is_diagnostic() {
            self.state.warnings.get_mut().clone_from(&parsed.warnings);
        }
        self.work.text(parsed.size)?;
        // What is rare is boxed: the future of a connection has room for what most statements need.
        match &parsed.statement {
            Statement::Select(select) => return self.select(select).await,
            Statement::Show(show) => return Box::pin(self.show(show)).await,
            Statement::Do(exprs) => {
                // Names that do not exist are found before anything is taken.
                for expr in exprs {
                    self.env(None).type_of(expr)?;
                }
                for expr in exprs {
                    self.value(expr).await?;
                }
            }
            Statement::Set(assignments) => Box::pin(self.set(assignments)).await?,
            Statement::Kill { query, id, reason } => Box::pin(self.kill(*query, id, reason.as_ref())).await?,
            Statement::Use(database) => self.use_database(database)?,
            Statement::Transaction { opens } => self.state.in_transaction = *opens,
            Statement::Nothing => {}
            Statement::Call(name) => return Err(self.no_procedure(name).into()),
            Statement::Prepare { name, from } => self.prepare_named(name, from)?,
            Statement::Execute { name, using } => return Box::pin(self.execute_named(name, using)).await,
            Statement::Deallocate { name } => self.state.named.deallocate(name)?,
        }
        Ok(Outcome::Done)
    }

    /// Resolves when it may look at everything. Cancel-safe.
    pub(super) async fn list_permit(&mut self) -> ExecResult<ListPermit> {
        socket::list_permit(self.io, self.session).await.map_err(|cut| ExecError::Close(cut.into()))
    }

    fn use_database(&mut self, database: &str) -> Result<(), SqlError> {
        check_database(database)?;
        self.state.database = Some(database.to_owned());
        self.session.handle().note(|client_info| client_info.database = Some(database.to_owned()));
        Ok(())
    }

    fn no_procedure(&self, name: &str) -> SqlError {
        match (&self.state.database, name.contains('.')) {
            (_, true) => SqlError::UnknownProcedure(name.to_owned()),
            (Some(database), false) => SqlError::UnknownProcedure(format!("{database}.{name}")),
            (None, false) => SqlError::NoDatabase,
        }
    }

    fn note_error(&mut self, error: &SqlError) {
        let warnings = self.state.warnings.get_mut();
        warnings.push(Warning::of(error));
        warnings.extend(error.explanation());
        self.state.row_count = -1;
    }

    pub(super) fn env<'e>(&'e self, row: Option<&'e [(&'static catalog::Column, Value)]>) -> Env<'e> {
        Env {
            session_info: SessionInfo {
                id: self.session.id().0,
                database: self.state.database.as_deref(),
                user: &self.state.user,
                host: &self.state.host,
                now: self.now,
                row_count: self.state.row_count,
                found_rows: self.state.found_rows,
            },
            parameters: self.parameters,
            user: &self.state.user_variables,
            work: &self.work,
            system: &self.state.variables,
            outcomes: &self.outcomes,
            row,
            aliases: &[],
            lookup: None,
            warnings: &self.state.warnings,
            server: Some(ServerView { config: self.state.config, io: self.io }),
        }
    }

    /// Evaluates an expression, and performs the effects that it suspends for.
    pub(super) async fn value(&mut self, expr: &Expr) -> ExecResult<Value> {
        let mark = self.work.mark();
        loop {
            let evaluated = self.env(None).eval(expr);
            match evaluated {
                Ok(value) => {
                    self.take_turns().await?;
                    return Ok(value);
                }
                Err(Suspend::Error(error)) => return Err(error.into()),
                Err(Suspend::Effect(at, effect)) => {
                    // What is left of the expression is evaluated again, from its start.
                    self.work.forget_since(mark);
                    let outcome = self.perform(effect).await?;
                    self.work.text(outcome.size())?;
                    if matches!(expr, Expr::Call { at: whole, .. } if *whole == at) {
                        // The call is all of the expression, as it is most often.
                        self.take_turns().await?;
                        return Ok(outcome);
                    }
                    self.set_outcome(at, outcome);
                }
            }
        }
    }

    /// Remembers what the call of this number has come to. Most statements have no need of that, so the first call that
    /// has makes the room.
    pub(super) fn set_outcome(&mut self, at: usize, outcome: Value) {
        self.outcomes.resize(self.calls, None);
        self.outcomes[at] = Some(outcome);
    }

    /// A long statement takes turns with other clients, and ends with its session.
    pub(super) async fn take_turns(&mut self) -> ExecResult<()> {
        if self.work.is_due() {
            return Box::pin(self.rest()).await;
        }
        tokio::task::coop::consume_budget().await;
        self.session.handle().end_reason().map_or(Ok(()), |ending| Err(ExecError::Close(ending.into())))
    }

    /// Others have their turn. Fails where the session is to end, its client has gone, or the time that a SELECT may
    /// take is over.
    async fn rest(&mut self) -> ExecResult<()> {
        socket::rest(self.io, self.session).await.map_err(|cut| ExecError::Close(cut.into()))?;
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(SqlError::ExecutionTime.into()),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, effect: Effect) -> Performing<'_, Value> {
        match effect {
            Effect::Acquire(request) => self.acquire(request),
            Effect::AcquireSeveral(request) => self.acquire_several(request),
            Effect::AcquireInNamespace(request) => self.acquire_in_namespace(request),
            Effect::Release(name) => at_once(match self.session.release(&name) {
                Ok(ReleaseAnswer::Released) => Ok(Value::Int(1)),
                Ok(ReleaseAnswer::HeldByOthers) => Ok(Value::Int(0)),
                Ok(ReleaseAnswer::Free) => Ok(Value::Null),
                Err(error) => Err(ExecError::Sql(error.into())),
            }),
            Effect::ReleaseSeveral(names) => {
                let released = self.session.release_several(&names);
                at_once(released.map(Value::UInt).map_err(|error| ExecError::Sql(error.into())))
            }
            Effect::ReleaseAll => released(self.session.release_all(), Value::UInt),
            Effect::ReleaseNamespace(namespace) => {
                released(self.session.release_namespace(namespace), |_| Value::Int(1))
            }
            Effect::LeaseLock(name, ttl) => Either::Right(Box::pin(self.lease_lock(name, ttl))),
            Effect::Query(query) => at_once(self.look(&query).map_err(ExecError::Sql)),
            Effect::Sleep(time) => Either::Right(Box::pin(self.sleep(time))),
            Effect::Assign(name, value) => {
                at_once(self.state.set_user(name, value.clone()).map(|()| value).map_err(ExecError::Sql))
            }
        }
    }

    fn acquire(&mut self, request: LockRequest) -> Performing<'_, Value> {
        if !self.state.allows_reentry() && self.session.covers(&request.name, request.mode) {
            self.state.warnings.get_mut().push(Warning::held_already(&request.name));
            return at_once(Ok(Value::Int(0)));
        }
        let Self { io, session, deadline, sql, .. } = self;
        acquired(session.acquire(request), io, *deadline, sql, |answer| {
            Ok(matches!(answer?, AcquireAnswer::Granted(_)).into())
        })
    }

    /// GET_LOCKS and GET_SHARED_LOCKS.
    fn acquire_several(&mut self, request: LocksRequest) -> Performing<'_, Value> {
        let Self { io, session, state, deadline, sql, .. } = self;
        let allows_reentry = state.allows_reentry();
        let warnings = state.warnings.get_mut();
        if !allows_reentry
            && let Some(name) = request.names.iter().find(|name| session.covers(name, request.mode))
        {
            warnings.push(Warning::held_already(name));
            return at_once(Ok(Value::Int(0)));
        }
        acquired(session.acquire_several(request), io, *deadline, sql, |answer| {
            Ok(Value::Int(match answer? {
                AcquireAnswer::Granted(_) => 1,
                AcquireAnswer::TimedOut(in_the_way) => {
                    warnings.extend(in_the_way.map(|name| Warning::in_the_way(LOCK_WAIT_TIMEOUT, &name)));
                    0
                }
            }))
        })
    }

    /// Of MySQL's Locking Service.
    fn acquire_in_namespace(&mut self, request: LocksRequest) -> Performing<'_, Value> {
        let Self { io, session, deadline, sql, .. } = self;
        acquired(session.acquire_several(request), io, *deadline, sql, |answer| match answer {
            Ok(AcquireAnswer::Granted(_)) => Ok(Value::Int(1)),
            Ok(AcquireAnswer::TimedOut(in_the_way)) => Err(SqlError::ServiceTimeout(in_the_way)),
            Err(Error::Deadlock(cycle)) => Err(SqlError::ServiceDeadlock(cycle)),
            Err(error) => Err(error.into()),
        })
    }

    /// Cancel-safe: dropped, the lease ends.
    async fn lease_lock(&mut self, name: Name, ttl: Duration) -> ExecResult<Value> {
        let answer = socket::lease_lock(self.io, self.session, self.leases, &name, ttl).await;
        let answer = answer.map_err(|cut| ExecError::Close(cut.into()))?;
        Ok(match answer.map_err(SqlError::from)? {
            LeaseLockAnswer::Leased(token, delivery) => {
                self.deliveries.push(delivery);
                Value::text(token.reveal())
            }
            LeaseLockAnswer::HeldByOthers => Value::text("0"),
            LeaseLockAnswer::Free => Value::Null,
        })
    }

    fn look(&mut self, query: &LockQuery) -> Result<Value, SqlError> {
        Ok(match query {
            LockQuery::IsFree(name) => self.session.query(&IsFree(name))?.into(),
            LockQuery::UsedBy(name) => {
                Value::or_null(self.session.query(&UsedBy(name))?.map(|id| id.0.into()))
            }
            LockQuery::FencingToken(name) => Value::or_null(self.session.fencing_token(name)?),
        })
    }

    /// 0, or 1 if it was cut short by the time that a SELECT may take.
    async fn sleep(&mut self, time: Duration) -> ExecResult<Value> {
        let handle = self.session.handle();
        handle.note(|client_info| client_info.statement = Some(shown(self.sql)));
        let end = Instant::now().checked_add(time);
        let short = self.deadline.is_some_and(|deadline| end.is_none_or(|end| deadline < end));
        let end = if short { self.deadline } else { end };
        let slept = tokio::select! {
            biased;
            ending = handle.ended() => Err(ExecError::Close(ending.into())),
            hung_up = self.io.hung_up(&self.state.budget, |_| ()) => Err(ExecError::Close(socket::Disconnect::HungUp(hung_up).into())),
            () = until(end) => Ok(Value::Int(short.into())),
        };
        self.io.watch_late_answer();
        self.session.handle().note(|client_info| client_info.statement = None);
        slept
    }

    async fn kill(&mut self, query: bool, id: &Expr, reason: Option<&Expr>) -> ExecResult<()> {
        self.env(None).type_of(id)?;
        let wanted = self.value(id).await?.to_i64().unwrap_or(0);
        let reason = match reason {
            Some(reason) => {
                self.env(None).type_of(reason)?;
                self.value(reason).await?.to_text()
            }
            None => None,
        };
        let unknown = || SqlError::UnknownThread(u64::try_from(wanted).unwrap_or(0));
        let id = SessionId(u32::try_from(wanted).map_err(|_| unknown())?);
        if query && id == self.session.id() {
            return Err(SqlError::Interrupted.into());
        }
        if query {
            self.session.cancel_wait(id).map_err(SqlError::from)?;
            return Ok(());
        }
        let killing = self.session.kill(id, reason.as_deref()).map_err(SqlError::from)?;
        let killed = killing.finish().await.map_err(|ending| ExecError::Close(ending.into()))?;
        killed.map_err(|error| SqlError::from(error).into())
    }
}

/// SELECT of expressions. `list` has that of tables.
impl Executor<'_> {
    pub(super) async fn select(&mut self, select: &Select) -> ExecResult<Outcome> {
        let limit = select.max_execution_time.map(Duration::from_millis);
        let limit = limit.or_else(|| self.state.variables.settings().max_execution_time);
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let table = select.from.as_ref().map(|name| self.source(select, name)).transpose()?;
        let items = &*if has_star(select) { expand(select, table).into() } else { Cow::from(&select.items) };
        let columns = self.columns(select, items, table)?;
        if select.explain {
            return Ok(explanation(table));
        }
        let window = match select.limit {
            Some(limit) => self.window(limit)?,
            None => (0, self.state.variables.settings().select_limit),
        };
        if let Some(table) = table {
            // Boxed, as all that is rare: what most statements need is small.
            return Box::pin(self.list(table, select, items, columns, window)).await;
        }
        let (skip, count) = window;
        let rows: Vec<_> = if skip > 0 || count == 0 {
            Vec::new()
        } else {
            self.row(select, items).await?.into_iter().collect()
        };
        if select.into.is_empty() {
            return Ok(Outcome::Rows { columns, rows });
        }
        self.store(select, rows.into_iter().next().unwrap_or_default())
    }

    /// `INTO @a, @b`
    pub(super) fn store(&mut self, select: &Select, row: Vec<Value>) -> ExecResult<Outcome> {
        for (name, value) in select.into.iter().zip(row) {
            self.state.set_user(name.to_lowercase(), value)?;
        }
        Ok(Outcome::Done)
    }

    /// The columns of what is only prepared.
    pub(super) fn prepared(&self, statement: &Statement) -> ExecResult<Vec<Column>> {
        match statement {
            Statement::Select(select) if select.into.is_empty() => {
                let table = select.from.as_ref().map(|name| self.source(select, name)).transpose()?;
                let columns = self.columns(select, &expand(select, table), table)?;
                Ok(if select.explain { explanation(table).columns() } else { columns })
            }
            Statement::Show(show) => self.shown(show),
            _ => Ok(Vec::new()),
        }
    }

    /// The table that it selects from.
    fn source(&self, select: &Select, name: &TableName) -> ExecResult<&'static Table> {
        let table = self.table(name)?;
        if select.acts {
            let why = "it takes and releases no locks row by row";
            return Err(SqlError::NoSuchThing(why.to_owned()).into());
        }
        Ok(table)
    }

    /// How many rows are left out, and how many follow at most.
    pub(super) fn window(&self, limit: Limit) -> Result<(u64, u64), SqlError> {
        Ok((self.rows_of(limit.offset)?, self.rows_of(limit.count)?))
    }

    /// A placeholder stands for an integer. Clients may send its digits; a user variable has to be one.
    fn rows_of(&self, rows: Rows) -> Result<u64, SqlError> {
        let at = match rows {
            Rows::Number(number) => return Ok(number),
            Rows::Parameter(at) => at,
        };
        let command = if self.binary { "mysqld_stmt_execute" } else { "EXECUTE" };
        let value = self.parameters.get(at).unwrap_or(&Value::Null);
        let is_number = matches!(value, Value::Int(_))
            || self.binary && matches!(value, Value::Text(_) | Value::Bytes { .. });
        match value {
            Value::Null => Ok(0),
            Value::UInt(number) => Ok(*number),
            _ if !is_number => Err(SqlError::WrongArguments(command.to_owned())),
            _ => u64::try_from(value.to_i64().unwrap_or(0)).map_err(|_| SqlError::NegativeRows(command)),
        }
    }

    /// The columns of a result. Names that do not exist are found here, before anything is taken.
    pub(super) fn columns(
        &self,
        select: &Select,
        items: &[SelectItem],
        table: Option<&'static Table>,
    ) -> ExecResult<Vec<Column>> {
        let blank = table.map(Table::blank);
        let env = self.env(blank.as_deref());
        let column = |item: &SelectItem| {
            if table.is_none() && matches!(item.expr, Expr::Star) {
                return Err(SqlError::NoTables.into());
            }
            let shown = match (&item.expr, table) {
                (Expr::Column(name), Some(table)) => table.column(name),
                _ => None,
            };
            let name = match shown {
                Some(shown) if !item.is_named && table.is_some_and(Table::has_own_labels) => {
                    shown.name.into()
                }
                _ => item.name.clone(),
            };
            let declared = shown.map(|column| column.declared);
            Ok(Column { name, kind: env.type_of(&item.expr)?, declared })
        };
        let columns = items.iter().map(column).collect::<ExecResult<Vec<_>>>()?;
        if let (true, Some((number, column)), Some(table)) = (select.counts, &select.mixed, table)
            && self.state.variables.has_mode("ONLY_FULL_GROUP_BY")
        {
            let column = format!("{}.{}.{column}", table.schema, table.name);
            return Err(SqlError::Mixed { number: *number, column }.into());
        }
        if let Some(condition) = &select.condition {
            env.type_of(condition).map_err(|suspended| in_clause(suspended, "where clause"))?;
        }
        for order in &select.order {
            let by = order.meant(items)?;
            let env = Env { aliases: items, ..env };
            env.type_of(&by).map_err(|suspended| in_clause(suspended, ORDER))?;
        }
        Ok(columns)
    }

    /// The one row of a SELECT without a table, if the condition lets it be.
    async fn row(&mut self, select: &Select, items: &[SelectItem]) -> ExecResult<Option<Vec<Value>>> {
        if let Some(condition) = &select.condition
            && self.value(condition).await?.to_bool() != Some(true)
        {
            return Ok(None);
        }
        let mut row = Vec::with_capacity(items.len());
        for item in items {
            row.push(self.value(&item.expr).await?);
        }
        Ok(Some(row))
    }
}

/// What an effect comes to, at once or after a wait. The wait is boxed: what a connection needs for most statements
/// is small.
type Performing<'a, T> =
    Either<Ready<ExecResult<T>>, Pin<Box<dyn Future<Output = ExecResult<T>> + Send + 'a>>>;

fn at_once<T>(ran: ExecResult<T>) -> Performing<'static, T> {
    Either::Left(ready(ran))
}

/// The number of MySQL's error for a lock that was not to be had in time.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// What a request for locks comes to.
fn acquired<'a>(
    acquiring: Acquiring<'a>,
    io: &'a mut BufferedSocket,
    deadline: Option<Instant>,
    sql: &'a [u8],
    value: impl FnOnce(Answer<AcquireAnswer>) -> Result<Value, SqlError> + Send + 'a,
) -> Performing<'a, Value> {
    match acquiring {
        Acquiring::Done(answer) => at_once(value(answer).map_err(ExecError::Sql)),
        Acquiring::Waiting(waiting) => {
            let wait = wait(io, waiting, deadline, sql);
            Either::Right(Box::pin(async move { value(wait.await?).map_err(ExecError::Sql) }))
        }
    }
}

/// What the release of many locks comes to.
fn released(releasing: Answer<Releasing<'_>>, value: fn(u64) -> Value) -> Performing<'_, Value> {
    match releasing {
        Ok(Releasing::Done(counts)) => at_once(Ok(value(counts))),
        Ok(Releasing::Pieces(pieces)) => Either::Right(Box::pin(async move {
            pieces.finish().await.map(value).map_err(|ending| ExecError::Close(ending.into()))
        })),
        Err(error) => at_once(Err(ExecError::Sql(error.into()))),
    }
}

/// Waits for a lock, up to the time that a SELECT may take.
///
/// Cancel-safe: dropped, it leaves the queue.
async fn wait(
    io: &mut BufferedSocket,
    waiting: Waiting<'_>,
    deadline: Option<Instant>,
    sql: &[u8],
) -> ExecResult<Answer<AcquireAnswer>> {
    let handle = waiting.handle();
    handle.note(|client_info| client_info.statement = Some(shown(sql)));
    let wait = socket::wait(&mut *io, waiting, |_| ());
    let waited = match deadline {
        None => Ok(wait.await),
        Some(deadline) => timeout_at(deadline, wait).await,
    };
    handle.note(|client_info| client_info.statement = None);
    if let Ok(answer) = waited {
        return answer.map_err(|cut| ExecError::Close(cut.into()));
    }
    // A wait that ends by itself has seen to that.
    io.watch_late_answer();
    Err(SqlError::ExecutionTime.into())
}

/// The most bytes of a statement that a list of processes shows: each who waits keeps as much.
const MAX_SHOWN: usize = 1024;

/// As much of a statement as a list of processes shows, without what ends it. It is made where the statement has to
/// wait: most statements are not seen by anybody.
fn shown(sql: &[u8]) -> String {
    let sql = without_end(sql);
    // The longest character has four bytes.
    let mut shown = String::from_utf8_lossy(&sql[..sql.len().min(MAX_SHOWN + 3)]).into_owned();
    shown.truncate(shown.floor_char_boundary(MAX_SHOWN));
    shown
}

/// A statement without what ends it.
pub(super) fn without_end(sql: &[u8]) -> &[u8] {
    let end = sql.iter().rposition(|byte| !matches!(byte, b';' | b' ' | b'\n'));
    &sql[..end.map_or(0, |last| last + 1)]
}

/// What MySQL calls ORDER BY in errors.
const ORDER: &str = "order clause";

impl Order {
    /// The expression that is meant: a number is the place of an item, and a name that of an item before that of a
    /// column. Within an expression, columns come first.
    pub(super) fn meant<'a>(&'a self, items: &'a [SelectItem]) -> Result<Cow<'a, Expr>, SqlError> {
        let name = match &self.by {
            By::Expr(by) => return Ok(Cow::Borrowed(by)),
            By::Place(place) => {
                let at = place.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                let unknown = || SqlError::UnknownColumn { column: place.to_string(), clause: ORDER };
                return Ok(Cow::Borrowed(&at.and_then(|at| items.get(at)).ok_or_else(unknown)?.expr));
            }
            By::Name(name) => name,
        };
        let mut meant = items.iter().filter(|item| item.name.eq_ignore_ascii_case(name));
        let Some(first) = meant.next() else { return Ok(Cow::Owned(Expr::Column(name.clone()))) };
        let is_column = |item: &SelectItem| matches!(item.expr, Expr::Column(_));
        if is_column(first) && meant.any(|other| is_column(other) && other.expr != first.expr) {
            return Err(SqlError::AmbiguousColumn { column: name.clone(), clause: ORDER });
        }
        Ok(Cow::Borrowed(&first.expr))
    }
}

fn has_star(select: &Select) -> bool {
    select.items.iter().any(|item| matches!(item.expr, Expr::Star))
}

/// The items of a SELECT, with `*` spelled out.
fn expand(select: &Select, table: Option<&'static Table>) -> Vec<SelectItem> {
    let all = |table: &'static Table| {
        let column = |column: &catalog::Column| SelectItem {
            expr: Expr::Column(column.name.to_owned()),
            name: column.name.into(),
            is_named: false,
        };
        table.columns.iter().map(column)
    };
    let items = select.items.iter().flat_map(|item| match (&item.expr, table) {
        (Expr::Star, Some(table)) => all(table).collect(),
        _ => vec![item.clone()],
    });
    items.collect()
}

/// What EXPLAIN says of any statement here: a table is looked at row by row.
fn explanation(table: Option<&Table>) -> Outcome {
    let mut rows = table_of("EXPLAIN").rows().to_vec();
    if let (Some(table), Some([_, _, name, _, kind, .., extra])) =
        (table, rows.first_mut().map(Vec::as_mut_slice))
    {
        (*name, *kind, *extra) = (Value::text(table.name), Value::text("ALL"), Value::Null);
    }
    fixed("EXPLAIN", "", rows)
}

pub(super) fn in_clause(suspended: Suspend, clause: &'static str) -> ExecError {
    match suspended {
        Suspend::Error(SqlError::UnknownColumn { column, .. }) => {
            SqlError::UnknownColumn { column, clause }.into()
        }
        other => other.into(),
    }
}
