//! What is reloaded while the server runs.

use std::sync::Arc;

use crate::{
    core::{
        session::LockService,
        users::{FileError, Users},
    },
    net::{Tls, TlsError},
};

/// Reloads the users and the certificate. Each part that is wrong stays as it was.
#[derive(Clone, Debug)]
pub struct Reloader {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) service: Arc<LockService>,
}

/// Why something stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The certificate or its key.
    #[error("the certificate stays as it was: {0}")]
    Tls(#[from] TlsError),
    /// The users.
    #[error("the users stay as they were: {0}")]
    Users(#[from] FileError),
}

impl Reloader {
    /// Reloads them, and logs the results. Sessions whose user lost its rights are ended.
    ///
    /// # Errors
    /// The first part that stays as it was. The others are read all the same.
    pub fn reload(&self) -> Result<(), ReloadError> {
        let users = self.service.users();
        if self.tls.is_none() && users.is_none() {
            tracing::info!("there is nothing to reload");
        }
        let tls = self.tls.as_ref().map_or(Ok(()), |tls| certificate(tls));
        let users = users.map_or(Ok(()), |users| self.users(users));
        tls.and(users)
    }

    fn users(&self, users: &Users) -> Result<(), ReloadError> {
        let users = logged(users.reload().map_err(ReloadError::from))?;
        let ended = self.service.users_changed();
        tracing::info!(users, ended, "the users were reloaded");
        Ok(())
    }
}

fn certificate(tls: &Tls) -> Result<(), ReloadError> {
    logged(tls.reload().map_err(ReloadError::from))?;
    tracing::info!(cert = %tls.cert().display(), "the certificate was reloaded");
    Ok(())
}

fn logged<T>(read: Result<T, ReloadError>) -> Result<T, ReloadError> {
    read.inspect_err(|error| tracing::error!("{error}"))
}
