//! Running statements.

use std::{
    future::{Ready, ready},
    pin::Pin,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;

use super::{
    catalog::{CatalogError, Column},
    error::{SqlError, Warning},
    look::Kept,
    names::check_database,
    over::Over,
    result::Outcome,
    sql::{Ask, Env, Expr, Halt, LockQuery, Parsed, Statement},
    state::State,
    value::Value,
    variables::World,
    work::Work,
};
use crate::{
    core::{
        command::{AcquireAnswer, Answer, LockRequest, ReleaseAnswer},
        lock::SessionId,
        session::{Acquiring, IsFree, ListPermit, Releasing, Session, UsedBy, Waiting, until},
    },
    net::BufferedSocket,
    wires::socket,
};

/// Why a statement has no outcome.
#[derive(Debug)]
pub(super) enum Stop {
    Error(SqlError),
    /// Nor has the connection a future.
    Over(Over),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        Self::Error(match halt {
            Halt::Error(error) => error,
            Halt::Ask(..) => SqlError::NoSuchThing("locks are not taken row by row".to_owned()),
        })
    }
}

pub(super) type Ran<T> = Result<T, Stop>;

/// One statement on its way.
pub(super) struct Runner<'a> {
    pub io: &'a mut BufferedSocket,
    pub session: &'a mut Session,
    pub state: &'a mut State,
    /// As it was typed.
    pub sql: &'a str,
    pub parameters: &'a [Value],
    /// When it came, in microseconds since 1970.
    pub now: i64,
    pub outcomes: Vec<Option<Value>>,
    /// What is the same for many rows.
    pub kept: Kept,
    pub deadline: Option<Instant>,
    pub work: Work,
    /// Whether rows are written as those of prepared statements are.
    pub binary: bool,
}

impl Runner<'_> {
    /// Cancel-safe: dropped while it waits for a lock, it leaves the queue.
    pub(super) async fn run(&mut self, parsed: &Parsed) -> Ran<Outcome> {
        let mut outcome = match self.begin(parsed) {
            Ok(()) => self.statement(&parsed.statement).await,
            Err(error) => Err(error.into()),
        };
        if let Ok(Outcome::Rows { rows, .. }) = &outcome
            && let Err(error) = self.count_writing(rows)
        {
            outcome = Err(error.into());
        }
        match &outcome {
            Err(Stop::Error(error)) => {
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

    /// What precedes a statement. Fails where there is no memory for what was read out of it.
    pub(super) fn begin(&mut self, parsed: &Parsed) -> Result<(), SqlError> {
        self.outcomes = vec![None; parsed.calls];
        if !parsed.is_diagnostic() {
            self.state.warnings.get_mut().clone_from(&parsed.warnings);
        }
        self.work.text(parsed.size)
    }

    /// Counts what it costs to write rows, all of which are written at once.
    fn count_writing(&self, rows: &[Vec<Value>]) -> Result<(), SqlError> {
        let form = self.form();
        rows.iter().try_for_each(|row| self.work.spend(form.effort(row)))
    }

    /// Cancel-safe: dropped while it waits for a lock, it leaves the queue.
    pub(super) async fn statement(&mut self, statement: &Statement) -> Ran<Outcome> {
        match statement {
            Statement::Select(select) => return self.select(select).await,
            Statement::Show(show) => return Box::pin(self.show(show)).await,
            Statement::Do(exprs) => {
                for expr in exprs {
                    self.env(None).type_of(expr)?;
                }
                for expr in exprs {
                    self.value(expr).await?;
                }
            }
            Statement::Set(assignments) => Box::pin(self.set(assignments)).await?,
            Statement::Kill { query, id } => Box::pin(self.kill(*query, id)).await?,
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
    pub(super) async fn list_permit(&mut self) -> Ran<ListPermit> {
        socket::list_permit(self.io, self.session).await.map_err(|cut| Stop::Over(cut.into()))
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
        if let SqlError::Deadlock(cycle) = error {
            warnings.push(Warning::note(error.code().0, cycle.to_string()));
        }
        self.state.row_count = -1;
    }

    pub(super) fn env<'e>(&'e self, row: Option<&'e [(&'static Column, Value)]>) -> Env<'e> {
        Env {
            facts: self.state.facts(self.session.id(), self.now),
            parameters: self.parameters,
            user: &self.state.user_variables,
            work: &self.work,
            system: &self.state.variables,
            outcomes: &self.outcomes,
            row,
            aliases: &[],
            look: None,
            warnings: &self.state.warnings,
            world: Some(World { session: self.session, io: self.io }),
        }
    }

    /// Evaluates an expression, doing what it asks for on the way.
    pub(super) async fn value(&mut self, expr: &Expr) -> Ran<Value> {
        let mark = self.work.mark();
        loop {
            let evaluated = self.env(None).eval(expr);
            match evaluated {
                Ok(value) => {
                    self.take_turns().await?;
                    return Ok(value);
                }
                Err(Halt::Error(error)) => return Err(error.into()),
                Err(Halt::Ask(at, ask)) => {
                    // It is evaluated again, from its start.
                    self.work.forget_since(mark);
                    let outcome = self.ask(ask).await?;
                    self.work.text(outcome.size())?;
                    self.outcomes[at] = Some(outcome);
                }
            }
        }
    }

    /// A long statement takes turns with other clients, and ends with its session.
    pub(super) async fn take_turns(&mut self) -> Ran<()> {
        if self.work.is_due() {
            return Box::pin(self.rest()).await;
        }
        tokio::task::coop::consume_budget().await;
        self.session.handle().ending().map_or(Ok(()), |ending| Err(Stop::Over(ending.into())))
    }

    /// Others have their turn. Fails where the session is to end, its client has gone, or the time that a SELECT may
    /// take is over.
    async fn rest(&mut self) -> Ran<()> {
        socket::rest(self.io, self.session).await.map_err(|cut| Stop::Over(cut.into()))?;
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(SqlError::ExecutionTime.into()),
            _ => Ok(()),
        }
    }

    fn ask(&mut self, ask: Ask) -> Running<'_, Value> {
        match ask {
            Ask::Acquire(request) => self.acquire(request),
            Ask::Release(name) => at_once(match self.session.release(&name) {
                Ok(ReleaseAnswer::Released) => Ok(Value::Int(1)),
                Ok(ReleaseAnswer::HeldByOthers) => Ok(Value::Int(0)),
                Ok(ReleaseAnswer::Free) => Ok(Value::Null),
                Err(error) => Err(Stop::Error(error.into())),
            }),
            Ask::ReleaseAll => match self.session.release_all() {
                Ok(Releasing::Done(counts)) => at_once(Ok(Value::UInt(counts))),
                Ok(Releasing::Pieces(pieces)) => Either::Right(Box::pin(async {
                    pieces.finish().await.map(Value::UInt).map_err(|ending| Stop::Over(ending.into()))
                })),
                Err(error) => at_once(Err(Stop::Error(error.into()))),
            },
            Ask::Look(query) => at_once(self.look(&query).map_err(Stop::Error)),
            Ask::Sleep(time) => Either::Right(Box::pin(self.sleep(time))),
            Ask::Assign(name, value) => {
                at_once(self.state.set_user(name, value.clone()).map(|()| value).map_err(Stop::Error))
            }
        }
    }

    fn acquire(&mut self, request: LockRequest) -> Running<'_, Value> {
        if !self.state.allows_reentry() && self.session.covers(&request.name, request.mode) {
            self.state.warnings.get_mut().push(Warning::held_already(&request.name));
            return at_once(Ok(Value::Int(0)));
        }
        let value = |answer: Answer<AcquireAnswer>| match answer {
            Ok(answer) => Ok(Value::Int((answer == AcquireAnswer::Granted).into())),
            Err(error) => Err(Stop::Error(error.into())),
        };
        match self.session.acquire(request) {
            Acquiring::Done(answer) => at_once(value(answer)),
            Acquiring::Waiting(waiting) => {
                let wait = wait(self.io, waiting, self.deadline, self.sql);
                Either::Right(Box::pin(async move { value(wait.await?) }))
            }
        }
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
    async fn sleep(&mut self, time: Duration) -> Ran<Value> {
        let handle = self.session.handle();
        handle.note(|client_info| client_info.statement = Some(shortened(self.sql)));
        let end = Instant::now().checked_add(time);
        let short = self.deadline.is_some_and(|deadline| end.is_none_or(|end| deadline < end));
        let end = if short { self.deadline } else { end };
        let slept = tokio::select! {
            biased;
            ending = handle.ended() => Err(Stop::Over(ending.into())),
            hung_up = self.io.hung_up(&self.state.budget, |_| ()) => Err(Stop::Over(socket::Disconnect::HungUp(hung_up).into())),
            () = until(end) => Ok(Value::Int(short.into())),
        };
        self.io.watch_late_answer();
        self.session.handle().note(|client_info| client_info.statement = None);
        slept
    }

    async fn kill(&mut self, query: bool, id: &Expr) -> Ran<()> {
        self.env(None).type_of(id)?;
        let wanted = self.value(id).await?.to_i64().unwrap_or(0);
        let unknown = || SqlError::UnknownThread(u64::try_from(wanted).unwrap_or(0));
        let id = SessionId(u32::try_from(wanted).map_err(|_| unknown())?);
        if query && id == self.session.id() {
            return Err(SqlError::Interrupted.into());
        }
        if query {
            self.session.cancel_wait(id).map_err(SqlError::from)?;
            return Ok(());
        }
        let killing = self.session.kill(id).map_err(SqlError::from)?;
        killing.finish().await.map_err(|ending| Stop::Over(ending.into()))
    }
}

/// What a command is answered with, at once or after a wait. That part is boxed: what a connection
/// needs for most commands is small.
type Running<'a, T> = Either<Ready<Ran<T>>, Pin<Box<dyn Future<Output = Ran<T>> + Send + 'a>>>;

fn at_once<T>(ran: Ran<T>) -> Running<'static, T> {
    Either::Left(ready(ran))
}

/// Waits for a lock, up to the time that a SELECT may take.
///
/// Cancel-safe: dropped, it leaves the queue.
async fn wait(
    io: &mut BufferedSocket,
    waiting: Waiting<'_>,
    deadline: Option<Instant>,
    sql: &str,
) -> Ran<Answer<AcquireAnswer>> {
    let handle = waiting.handle();
    handle.note(|client_info| client_info.statement = Some(shortened(sql)));
    let wait = socket::wait(&mut *io, waiting, |_| ());
    let waited = match deadline {
        None => Ok(wait.await),
        Some(deadline) => timeout_at(deadline, wait).await,
    };
    handle.note(|client_info| client_info.statement = None);
    if let Ok(answer) = waited {
        return answer.map_err(|cut| Stop::Over(cut.into()));
    }
    // A wait that ends by itself has seen to that.
    io.watch_late_answer();
    Err(SqlError::ExecutionTime.into())
}

/// The most bytes of a statement that a list of processes shows: each who waits keeps as much.
const MAX_SHOWN: usize = 1024;

/// A statement without what ends it.
pub(super) fn without_end(sql: &str) -> &str {
    sql.trim_end_matches([';', ' ', '\n'])
}

/// As much of a statement as a list of processes shows.
fn shortened(sql: &str) -> String {
    sql[..sql.floor_char_boundary(MAX_SHOWN)].to_owned()
}
