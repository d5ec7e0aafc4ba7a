//! What greedy and hostile clients try: they are told no, what they tried is not kept, and neighbours are served.
//! Bounds are asserted, not times.
//!
//! `cargo test --release --test proof abuse -- --nocapture | grep '^|'` prints a table: for each attack a neighbour's times
//! beside those of an echo server, the server's memory before and after it, and what the attacker was told.

mod attacked;
mod cross_site;
mod fair_share;
mod flood;
mod grpc_streams;
mod guessing;
mod http;
mod list_conditions;
mod memory;
mod name_length;
mod out_of_memory;
mod pipelining;
mod scale;
mod statement_work;

use std::net::SocketAddr;

use crate::common::mysql::MySql;

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
