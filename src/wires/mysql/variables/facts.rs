//! Reading system variables: the value that the session has set, a fact about the server, or the initial value.

use std::sync::LazyLock;

use super::{
    REENTRY,
    table::{Variable, VariableKind},
};
use crate::{
    net::BufferedSocket,
    wires::mysql::{
        ServerFlags, VERSION, VERSION_COMMENT,
        sql::{Env, uuid_text},
        state::takes_no_lock_twice,
        value::Value,
    },
};

/// The facts about the server and the connection that some variables report.
#[derive(Clone, Copy)]
pub(in crate::wires::mysql) struct ServerView<'a> {
    pub config: ServerFlags,
    pub io: &'a BufferedSocket,
}

/// The UUID of the server, random for each process.
static SERVER_UUID: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0; 16];
    // Without random numbers nobody can log in to ask for it.
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    uuid_text(&bytes)
});

impl Env<'_> {
    /// The value for the session, or the global one.
    pub(in crate::wires::mysql) fn value_of(&self, variable: &'static Variable, global: bool) -> Value {
        let own = if global { None } else { self.system.own(variable) };
        if !global && variable.name == REENTRY && takes_no_lock_twice(self.session_info.database) {
            return Value::UInt(0);
        }
        own.or_else(|| self.fact(variable.name)).unwrap_or_else(|| variable.initial.clone())
    }

    /// `LAST_INSERT_ID()`: the value that the session has set, since nothing is inserted.
    pub(in crate::wires::mysql) fn last_insert_id(&self) -> Value {
        let set = Variable::named("last_insert_id").and_then(|variable| self.system.own(variable));
        set.unwrap_or(Value::UInt(0))
    }

    /// The value as in SHOW VARIABLES.
    pub(in crate::wires::mysql) fn shown(&self, variable: &'static Variable, global: bool) -> String {
        match (&variable.kind, self.value_of(variable, global)) {
            (VariableKind::Flag, value) => if value == Value::UInt(1) { "ON" } else { "OFF" }.to_owned(),
            (VariableKind::Real { .. }, Value::Double(real)) => format!("{real:.6}"),
            (_, value) => value.to_text().unwrap_or_default(),
        }
    }

    /// Values that differ between servers, connections or statements.
    fn fact(&self, name: &str) -> Option<Value> {
        Some(match name {
            "version" => Value::text(VERSION),
            // MySQL says its own version.
            "innodb_version" => Value::text(VERSION.split('-').next().unwrap_or_default()),
            "version_comment" => Value::text(VERSION_COMMENT),
            "version_compile_machine" => Value::text(std::env::consts::ARCH),
            "version_compile_os" => Value::text(std::env::consts::OS),
            "system_time_zone" => Value::text("UTC"),
            "server_uuid" => Value::text(SERVER_UUID.as_str()),
            "hostname" => Value::text(rustix::system::uname().nodename().to_string_lossy()),
            "max_allowed_packet" => Value::UInt(self.system.settings().max_packet as u64),
            "pseudo_thread_id" => Value::UInt(self.session_info.id.into()),
            "statement_id" => Value::Int(self.session_info.now),
            #[expect(clippy::cast_precision_loss, reason = "MySQL has the same precision")]
            "timestamp" => Value::Double(self.session_info.now as f64 / 1e6),
            "warning_count" => Value::UInt(self.warnings.borrow().len() as u64),
            "error_count" => {
                let warnings = self.warnings.borrow();
                Value::UInt(warnings.iter().filter(|warning| warning.level == "Error").count() as u64)
            }
            _ => return self.server.and_then(|world| world.fact(name)),
        })
    }
}

impl ServerView<'_> {
    fn fact(self, name: &str) -> Option<Value> {
        let tls = self.io.tls();
        Some(match name {
            "port" => Value::UInt(self.io.local_port()?.into()),
            "max_connections" => Value::UInt(self.config.max_connections as u64),
            "connect_timeout" => Value::UInt(self.io.timeouts().login.as_secs()),
            "have_ssl" | "have_openssl" => Value::text(if tls.is_some() { "YES" } else { "DISABLED" }),
            "tls_version" => Value::text(if tls.is_some() { "TLSv1.2,TLSv1.3" } else { "" }),
            "require_secure_transport" => Value::UInt(tls.is_some_and(|tls| tls.is_required()).into()),
            _ => return None,
        })
    }
}
