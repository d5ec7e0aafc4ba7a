//! Reloading the users and the certificate of a running server.

use std::{fmt, sync::Arc};

use crate::{
    core::{
        session::LockService,
        users::{FileError, Users},
    },
    net::{Tls, TlsError},
};

/// Reloads the users and the certificate. A file that cannot be used changes nothing.
#[derive(Clone, Debug)]
pub struct Reloader {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) users: Option<Arc<Users>>,
    pub(super) current: Arc<dyn CurrentService>,
}

/// What serves clients now.
pub trait CurrentService: fmt::Debug + Send + Sync {
    /// The sessions and locks that there are now; none on a node that does not lead.
    fn service(&self) -> Option<Arc<LockService>>;
}

/// Why a file was not reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The certificate or its key cannot be used.
    #[error("the certificate was not reloaded, the old one stays in use: {0}")]
    Tls(#[from] TlsError),
    /// The users file cannot be used.
    #[error("the users were not reloaded, the old ones stay in force: {0}")]
    Users(#[from] FileError),
}

impl Reloader {
    /// Reloads both files and logs the results. A session whose user has lost rights that it uses is ended.
    ///
    /// # Errors
    /// The first failure. The other file is reloaded nevertheless.
    pub fn reload(&self) -> Result<(), ReloadError> {
        if self.tls.is_none() && self.users.is_none() {
            tracing::info!("nothing to reload: the server has neither users nor a certificate");
        }
        let tls = self.tls.as_ref().map_or(Ok(()), |tls| certificate(tls));
        let users = self.users.as_ref().map_or(Ok(()), |users| self.reload_users(users));
        tls.and(users)
    }

    fn reload_users(&self, users: &Users) -> Result<(), ReloadError> {
        let users = logged(users.reload().map_err(ReloadError::from))?;
        let ended = self.current.service().map_or(0, |service| service.users_changed());
        tracing::info!(users, ended, "reloaded the users");
        Ok(())
    }
}

fn certificate(tls: &Tls) -> Result<(), ReloadError> {
    logged(tls.reload().map_err(ReloadError::from))?;
    tracing::info!(cert = %tls.cert().display(), "reloaded the certificate");
    Ok(())
}

fn logged<T>(read: Result<T, ReloadError>) -> Result<T, ReloadError> {
    read.inspect_err(|error| tracing::error!("{error}"))
}
