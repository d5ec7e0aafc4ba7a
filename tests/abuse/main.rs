//! What greedy clients try, with small numbers: they are told no, what they tried is not kept, and neighbours do not
//! notice. Bounds are asserted, not times. `-- --nocapture` prints what each was told.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod lists;
#[cfg(target_os = "linux")]
mod memory;
mod names;
mod work;

use std::net::SocketAddr;

use common::mysql::{MySql, Reply};

/// Who holds a lock and behaves, while others try something.
pub(crate) struct Neighbour {
    client: MySql,
    lock: &'static str,
}

impl Neighbour {
    pub(crate) async fn of(server: SocketAddr) -> Self {
        Self::with(server, "neighbour").await
    }

    /// Another one.
    pub(crate) async fn of_other(server: SocketAddr) -> Self {
        Self::with(server, "other").await
    }

    async fn with(server: SocketAddr, lock: &'static str) -> Self {
        let mut client = MySql::connect(server).await;
        assert_eq!(client.value(&format!("SELECT GET_LOCK('{lock}', 0)")).await.as_deref(), Some("1"));
        Self { client, lock }
    }

    /// It is served, and has what it had.
    pub(crate) async fn is_well(&mut self) {
        let owns = format!("SELECT IS_USED_LOCK('{}') = CONNECTION_ID()", self.lock);
        for statement in [&owns, "SELECT GET_LOCK('more', 0)", "SELECT RELEASE_LOCK('more')"] {
            assert_eq!(self.client.value(statement).await.as_deref(), Some("1"), "{statement}");
        }
    }
}

/// A line of the table: what was tried, and what the answer was.
pub(crate) fn told(attack: &str, reply: &Reply) -> u16 {
    let (code, text) = match reply {
        Reply::Error { code, text, .. } => (*code, text.as_str()),
        Reply::Ok { .. } => (0, "OK"),
        Reply::Rows { .. } => (0, "rows"),
    };
    println!("| {attack} | {code} | {} |", text.chars().take(100).collect::<String>());
    code
}
