//! Doing what the packets of a connection ask for.

use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    charset::Charset,
    clock,
    command::Kind,
    connection::{Connection, MAX_LOGIN},
    error::{SqlError, Warning},
    login::{Change, capability},
    look::Kept,
    names::check_database,
    over::Over,
    packet::Fields,
    prepared::Bound,
    result::Outcome,
    run::{Runner, Stop, without_end},
    sql::{self, Parsed},
    value::Value,
    work::Work,
};
use crate::{
    core::{
        stats::{Refused, ReleaseCause},
        users::Proof,
    },
    net::MAX_UNSENT,
};

impl Connection {
    pub(super) async fn command(&mut self, packet: &[u8]) -> Result<(), Over> {
        let (first, payload) = packet.split_first().map_or((0, packet), |(first, payload)| (*first, payload));
        let kind = Kind::of(first);
        match kind {
            Kind::Quit => return Err(Over::Left),
            Kind::Query => return Box::pin(self.query(payload)).await,
            Kind::Execute => return Box::pin(self.execute(payload)).await,
            Kind::ChangeUser => return Box::pin(self.change_user(payload)).await,
            Kind::ProcessInfo => return Box::pin(self.query(b"SHOW PROCESSLIST")).await,
            Kind::ProcessKill => return Box::pin(self.process_kill(payload)).await,
            Kind::ResetConnection => {
                Box::pin(self.reset()).await;
                self.writer(false).ok();
                return Ok(());
            }
            // These two are not answered.
            Kind::Close => {
                if let Ok(id) = Fields(payload).u32() {
                    self.state.forget(id);
                }
                return Ok(());
            }
            Kind::SendLongData => {
                self.long_data(payload);
                return Ok(());
            }
            _ => {}
        }
        let done = self.simple(kind, payload);
        match done {
            Ok(true) => self.writer(false).ok(),
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
        Ok(())
    }

    /// What needs no waiting. True if an OK is to be sent.
    fn simple(&mut self, kind: Kind, payload: &[u8]) -> Result<bool, SqlError> {
        match kind {
            Kind::Ping => {}
            Kind::Debug => {
                self.writer(false).end();
                return Ok(false);
            }
            Kind::InitDb => {
                let database = self.state.variables.settings().client_charset.text(payload);
                check_database(&database)?;
                self.set_user_and_database(self.state.user.clone(), Some(database))?;
            }
            Kind::SetOption => {
                self.multi = match Fields(payload).u16()? {
                    0 => true,
                    1 => false,
                    _ => return Err(SqlError::UnknownCommand),
                };
                self.writer(false).end();
                return Ok(false);
            }
            Kind::Reset => {
                let id = Fields(payload).u32()?;
                self.state.prepared(id, "mysqld_stmt_reset")?.reset();
            }
            Kind::Prepare => return self.prepare(payload).map(|()| false),
            Kind::Statistics => {
                let stats = self.session.stats()?;
                let (uptime, threads) = (stats.uptime.as_secs(), stats.sessions);
                let text = format!("Uptime: {uptime}  Threads: {threads}  Locks: {}", stats.table.locks);
                self.writer(false).text(&text);
                return Ok(false);
            }
            Kind::FieldList => {
                self.writer(false).end();
                return Ok(false);
            }
            _ => return Err(SqlError::UnknownCommand),
        }
        Ok(true)
    }

    /// Frees all locks; the connection id stays.
    async fn reset(&mut self) {
        self.session.free_all(ReleaseCause::Reset).await;
        self.state.reset();
        self.set_flags();
        self.state.variables.set_names(Charset::default());
    }

    async fn change_user(&mut self, payload: &[u8]) -> Result<(), Over> {
        let capabilities = self.state.capabilities;
        let may_switch = capabilities & capability::PLUGIN_AUTH != 0;
        let change = Change::parse(payload, capabilities);
        let Change { user, proof, database, charset, attributes } = match change {
            Ok(change) => change,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        if let Err(Over::Fatal(error)) = self.check_names(&user, database.as_deref()) {
            self.fail(&error);
            return Ok(());
        }
        // What was held is free whether the client answers or not.
        self.reset().await;
        self.session.log_out();
        if may_switch {
            // As at the login, a proof is short.
            self.packets.set_limit(MAX_LOGIN);
            self.ask_proof(&user).await?;
            self.packets.set_limit(self.state.config.max_packet);
        } else {
            let nonce = self.state.nonce;
            self.check(&user, &Proof::Native { nonce: &nonce, proof }).await?;
        }
        self.state.variables.set_names(charset);
        self.state.variables.forget_reentry();
        self.set_user_and_database(user, database)?;
        self.introduce(attributes)?;
        self.writer(false).ok();
        Ok(())
    }

    async fn process_kill(&mut self, payload: &[u8]) -> Result<(), Over> {
        match Fields(payload).u32() {
            Ok(id) => self.query(format!("KILL {id}").as_bytes()).await,
            Err(error) => {
                self.writer(false).error(&error);
                Ok(())
            }
        }
    }

    fn long_data(&mut self, payload: &[u8]) {
        let mut fields = Fields(payload);
        if let (Ok(id), Ok(parameter)) = (fields.u32(), fields.u16()) {
            self.state.append(id, parameter, fields.0);
        }
    }

    async fn query(&mut self, payload: &[u8]) -> Result<(), Over> {
        let sql = match self.read_statement(payload) {
            Ok(sql) => sql,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        let mut left = &sql[..];
        loop {
            let parsed = match self.parse(left) {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.fail(&error);
                    return Ok(());
                }
            };
            if let Some(at) = parsed.first_parameter {
                self.fail(&sql::syntax_error(left, at));
                return Ok(());
            }
            let text = &left[..parsed.rest.unwrap_or(left.len())];
            let outcome = match self.statement(&parsed, text, &[], false).await {
                Ok(outcome) => outcome,
                Err(Stop::Error(error)) => {
                    self.tell(&error);
                    return Ok(());
                }
                Err(Stop::Over(over)) => return Err(over),
            };
            let (more, tells) = (parsed.rest.is_some(), parsed.is_diagnostic());
            if let Err(error) = self.answer_statement(more, tells, &outcome, false) {
                self.fail(&error);
                return Ok(());
            }
            let Some(rest) = parsed.rest else { return Ok(()) };
            left = &left[rest..];
            // A batch is no longer a burst than packets are, and others have their turn between its statements.
            if self.io.output.len() >= MAX_UNSENT {
                self.flush().await?;
            }
            if self.is_due() {
                self.rest().await?;
            } else {
                yield_now().await;
            }
            self.session.publish_holds();
            if let Some(ending) = self.session.end_reason() {
                return Err(ending.into());
            }
        }
    }

    fn parse(&self, sql: &[u8]) -> Result<Parsed, SqlError> {
        match self.state.parse(sql) {
            Ok(Parsed { rest: Some(rest), .. }) if !self.multi => Err(sql::syntax_error(sql, rest)),
            parsed => parsed,
        }
    }

    /// Tells of an error, and leaves it for SHOW WARNINGS.
    pub(super) fn fail(&mut self, error: &SqlError) {
        *self.state.warnings.get_mut() = vec![Warning::of(error)];
        self.tell(error);
    }

    fn tell(&mut self, error: &SqlError) {
        if let SqlError::TooMuchMemory(exceeded) = error {
            self.session.count_refusal(Refused::from(*exceeded));
        }
        self.writer(false).error(error);
    }

    async fn statement(
        &mut self,
        parsed: &Parsed,
        sql: &[u8],
        parameters: &[Value],
        binary: bool,
    ) -> Result<Outcome, Stop> {
        let sql = String::from_utf8_lossy(sql);
        let mut runner = self.runner(without_end(&sql), parameters, binary);
        let outcome = runner.run(parsed).await;
        let done = runner.work.done();
        self.state.effort += done;
        outcome
    }

    /// Answers a statement. One that tells of warnings, as SHOW WARNINGS, is answered with a count of none: they are those of
    /// the statement before it, and a client that asks for all that is counted would never stop asking.
    fn answer_statement(
        &mut self,
        more: bool,
        tells: bool,
        outcome: &Outcome,
        binary: bool,
    ) -> Result<(), SqlError> {
        self.answer(more, |writer| {
            if tells {
                writer.status.warnings = 0;
            }
            writer.outcome(outcome, binary);
        })
    }

    fn runner<'a>(&'a mut self, sql: &'a str, parameters: &'a [Value], binary: bool) -> Runner<'a> {
        let Self { io, session, state, .. } = self;
        let work = Work::new(&state.budget);
        let now = state.variables.settings().timestamp.unwrap_or_else(clock::now);
        Runner {
            io,
            session,
            state,
            sql,
            parameters,
            now,
            outcomes: Vec::new(),
            kept: Kept::default(),
            deadline: None,
            work,
            binary,
        }
    }

    fn prepare(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        let sql = self.read_statement(payload)?.into_owned();
        let prepared = self.runner("", &[], false).prepare(&sql);
        let (parameters, columns) = prepared.map_err(|stop| match stop {
            Stop::Error(error) => error,
            Stop::Over(_) => SqlError::Malformed,
        })?;
        self.state.warnings.get_mut().clear();
        let id = self.state.prepare(sql, parameters.into())?;
        let answered = self.answer(false, |writer| writer.prepared(id, parameters, &columns));
        answered.inspect_err(|_| self.state.forget(id))
    }

    async fn execute(&mut self, payload: &[u8]) -> Result<(), Over> {
        let (parsed, sql, bound) = match self.bind(payload) {
            Ok(bound) => bound,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        let outcome = match self.statement(&parsed, &sql, &bound.values, true).await {
            Ok(outcome) => outcome,
            Err(Stop::Over(over)) => return Err(over),
            Err(Stop::Error(error)) => {
                self.tell(&error);
                return Ok(());
            }
        };
        let tells = parsed.is_diagnostic();
        drop((parsed, bound));
        if let Err(error) = self.answer_statement(false, tells, &outcome, true) {
            self.fail(&error);
        }
        Ok(())
    }

    /// A prepared statement, and the values for its placeholders.
    fn bind(&mut self, payload: &[u8]) -> Result<(Parsed, Bytes, Bound), SqlError> {
        let mut fields = Fields(payload);
        let id = fields.u32()?;
        // Flags of cursors, which are not opened, and a count that is always 1.
        fields.take(5)?;
        let charset = self.state.variables.settings().client_charset;
        let prepared = self.state.prepared(id, "mysqld_stmt_execute")?;
        let mut bound = prepared.bind(&mut fields, charset)?;
        let sql = prepared.sql.clone();
        bound.pay(&self.state.budget)?;
        self.pay_for_parsed(&sql)?;
        Ok((self.parse(&sql)?, sql, bound))
    }
}
