//! What greedy clients try, with small numbers: they are told no, what they tried is not kept, and neighbours do not
//! notice. Bounds are asserted, not times. `-- --nocapture` prints what each was told.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod names;

use common::mysql::{MySql, Reply};

/// Who holds a lock and behaves, while others try something.
pub(crate) struct Neighbour(MySql);

impl Neighbour {
    pub(crate) async fn of(server: std::net::SocketAddr) -> Self {
        let mut neighbour = MySql::connect(server).await;
        assert_eq!(neighbour.value("SELECT GET_LOCK('neighbour', 0)").await.as_deref(), Some("1"));
        Self(neighbour)
    }

    /// It is served, and has what it had.
    pub(crate) async fn is_well(&mut self) {
        let owns = "SELECT IS_USED_LOCK('neighbour') = CONNECTION_ID()";
        assert_eq!(self.0.value(owns).await.as_deref(), Some("1"));
        assert_eq!(self.0.value("SELECT GET_LOCK('more', 0)").await.as_deref(), Some("1"));
        assert_eq!(self.0.value("SELECT RELEASE_LOCK('more')").await.as_deref(), Some("1"));
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
