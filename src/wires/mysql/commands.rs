//! Running the commands of a connection.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::yield_now;

use super::{
    charset::Charset,
    connection::{CloseReason, Connection, MAX_LOGIN},
    error::{SqlError, Warning},
    executor::{ExecError, Executor},
    login::{Change, capability},
    names::check_database,
    packet::{Fields, Opcode},
    prepared::Bound,
    result::Outcome,
    sql::{self, ParsedStatement},
    value::Value,
};
use crate::{
    core::{
        lease::Delivery,
        stats::{Refused, ReleaseCause},
        users::Proof,
    },
    net::MAX_UNSENT,
    wires::socket,
};

impl Connection {
    pub(super) async fn command(&mut self, packet: &[u8]) -> Result<(), CloseReason> {
        let (first, payload) = packet.split_first().map_or((0, packet), |(first, payload)| (*first, payload));
        let opcode = Opcode::of(first);
        match opcode {
            Opcode::Quit => return Err(CloseReason::Left),
            Opcode::Query => return Box::pin(self.query(payload)).await,
            Opcode::Execute => return Box::pin(self.execute(payload)).await,
            Opcode::ChangeUser => return Box::pin(self.change_user(payload)).await,
            Opcode::ProcessInfo => return Box::pin(self.query(b"SHOW PROCESSLIST")).await,
            Opcode::ProcessKill => return Box::pin(self.process_kill(payload)).await,
            Opcode::ResetConnection => {
                Box::pin(self.reset()).await;
                self.writer(false).ok();
                return Ok(());
            }
            // These two are not answered.
            Opcode::Close => {
                if let Ok(id) = Fields(payload).u32() {
                    self.state.forget(id);
                }
                return Ok(());
            }
            Opcode::SendLongData => {
                self.long_data(payload);
                return Ok(());
            }
            _ => {}
        }
        let done = self.simple(opcode, payload);
        match done {
            Ok(true) => self.writer(false).ok(),
            Ok(false) => {}
            Err(error) => self.fail(&error),
        }
        Ok(())
    }

    /// Runs a command that never waits. Returns true if an OK has to be sent.
    fn simple(&mut self, opcode: Opcode, payload: &[u8]) -> Result<bool, SqlError> {
        match opcode {
            Opcode::Ping => {}
            Opcode::Debug => {
                self.writer(false).end();
                return Ok(false);
            }
            Opcode::InitDb => {
                let database = self.state.variables.settings().client_charset.text(payload);
                check_database(&database)?;
                self.set_user_and_database(self.state.user.clone(), Some(database))?;
            }
            Opcode::SetOption => {
                self.multi = match Fields(payload).u16()? {
                    0 => true,
                    1 => false,
                    _ => return Err(SqlError::UnknownCommand),
                };
                self.writer(false).end();
                return Ok(false);
            }
            Opcode::Reset => {
                let id = Fields(payload).u32()?;
                self.state.prepared(id, "mysqld_stmt_reset")?.reset();
            }
            Opcode::Prepare => return self.prepare(payload).map(|()| false),
            Opcode::Statistics => {
                let stats = self.session.stats()?;
                let (uptime, threads) = (stats.uptime.as_secs(), stats.sessions);
                let text = format!("Uptime: {uptime}  Threads: {threads}  Locks: {}", stats.table.locks);
                self.writer(false).text(&text);
                return Ok(false);
            }
            Opcode::FieldList => {
                self.writer(false).end();
                return Ok(false);
            }
            _ => return Err(SqlError::UnknownCommand),
        }
        Ok(true)
    }

    /// Releases all locks; the connection ID remains.
    async fn reset(&mut self) {
        self.session.free_all(ReleaseCause::Reset).await;
        self.state.reset();
        self.set_flags();
        self.state.variables.set_names(Charset::default());
    }

    async fn change_user(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
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
        if let Err(CloseReason::Fatal(error)) = self.check_names(&user, database.as_deref()) {
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

    async fn process_kill(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
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

    async fn query(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
        let sql = match self.read_statement(payload) {
            Ok(sql) => sql,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        let mut left = &sql[..];
        loop {
            let parsed = match self.state.parse(left) {
                Ok(parsed) => parsed,
                Err(error) => {
                    self.fail(&error);
                    return Ok(());
                }
            };
            let second = parsed.rest.filter(|_| !self.multi);
            if let Some(at) = second.or(parsed.first_parameter) {
                self.fail(&sql::syntax_error(left, at));
                return Ok(());
            }
            let text = &left[..parsed.rest.unwrap_or(left.len())];
            let (outcome, deliveries) = match self.statement(&parsed, text, &[], false).await {
                Ok(outcome) => outcome,
                Err(ExecError::Sql(error)) => {
                    self.tell(&error);
                    return Ok(());
                }
                Err(ExecError::Close(reason)) => return Err(reason),
            };
            let is_diagnostic = parsed.is_diagnostic();
            let answered = self.answer(parsed.rest.is_some(), |writer| {
                writer.outcome(&outcome, is_diagnostic, false);
            });
            if let Err(error) = answered {
                self.fail(&error);
                return Ok(());
            }
            self.deliver(deliveries).await?;
            let Some(rest) = parsed.rest else { return Ok(()) };
            left = &left[rest..];
            // A batch is no longer a burst than packets are, and others have their turn between its statements.
            if self.io.output.len() >= MAX_UNSENT {
                socket::flush(&mut self.io, self.session.handle()).await?;
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

    /// Sends an error, and keeps it for SHOW WARNINGS.
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

    /// Executes a statement, and counts its cost before others get their turn.
    async fn statement(
        &mut self,
        parsed: &ParsedStatement,
        sql: &[u8],
        parameters: &[Value],
        binary: bool,
    ) -> Result<(Outcome, Vec<Arc<Delivery>>), ExecError> {
        let Self { io, session, leases, state, .. } = self;
        let mut executor = Executor::new(io, session, leases, state, sql, parameters, binary);
        let outcome = executor.execute(parsed).await;
        let (done, deliveries) = (executor.work.done(), executor.deliveries);
        self.state.effort += done;
        outcome.map(|outcome| (outcome, deliveries))
    }

    /// Sends the answer that tells the tokens of leases. These end if the socket does not take it.
    ///
    /// Cancel-safe: dropped, the leases end.
    async fn deliver(&mut self, deliveries: Vec<Arc<Delivery>>) -> Result<(), CloseReason> {
        if !deliveries.is_empty() {
            socket::flush(&mut self.io, self.session.handle()).await?;
            for delivery in deliveries {
                delivery.done();
            }
        }
        Ok(())
    }

    fn prepare(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        let sql = self.read_statement(payload)?.into_owned();
        let Self { io, session, leases, state, .. } = self;
        let prepared = Executor::new(io, session, leases, state, &[], &[], false).prepare(&sql);
        let (parameters, columns) = prepared.map_err(|error| match error {
            ExecError::Sql(error) => error,
            ExecError::Close(_) => SqlError::Malformed,
        })?;
        self.state.warnings.get_mut().clear();
        let id = self.state.prepare(sql, parameters.into())?;
        let answered = self.answer(false, |writer| writer.prepared(id, parameters, &columns));
        answered.inspect_err(|_| self.state.forget(id))
    }

    async fn execute(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
        let (parsed, sql, bound) = match self.bind(payload) {
            Ok(bound) => bound,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        let (outcome, deliveries) = match self.statement(&parsed, &sql, &bound.values, true).await {
            Ok(outcome) => outcome,
            Err(ExecError::Close(reason)) => return Err(reason),
            Err(ExecError::Sql(error)) => {
                self.tell(&error);
                return Ok(());
            }
        };
        let is_diagnostic = parsed.is_diagnostic();
        // What the answer needs is all that is kept while it is written.
        drop((parsed, bound));
        if let Err(error) = self.answer(false, |writer| writer.outcome(&outcome, is_diagnostic, true)) {
            self.fail(&error);
            return Ok(());
        }
        self.deliver(deliveries).await
    }

    /// A prepared statement, and the values for its placeholders.
    fn bind(&mut self, payload: &[u8]) -> Result<(ParsedStatement, Bytes, Bound), SqlError> {
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
        let parsed = self.state.parse(&sql)?;
        // Where @@sql_mode was set meanwhile, quotes may end elsewhere, and a second statement begin.
        if let Some(rest) = parsed.rest.filter(|_| !self.multi) {
            return Err(sql::syntax_error(&sql, rest));
        }
        Ok((parsed, sql, bound))
    }
}
