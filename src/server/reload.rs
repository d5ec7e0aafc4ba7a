//! What is read anew while the server runs.

use std::sync::Arc;

use crate::net::Tls;

/// Reads anew what can be. Each part that is wrong stays as it was.
#[derive(Clone, Debug)]
pub struct Reloader {
    pub(super) tls: Option<Arc<Tls>>,
}

impl Reloader {
    /// Reads it, and says in the log what came of it.
    pub fn reload(&self) {
        let Some(tls) = &self.tls else { return tracing::info!("there is nothing to be read anew") };
        let cert = tls.cert().display();
        match tls.reload() {
            Ok(()) => tracing::info!(%cert, "the certificate was read anew"),
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }
}
