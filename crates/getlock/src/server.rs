//! How `getlock` connects to the server.

use std::{fs, path::Path, time::Duration};

use getlockd_client::{Builder, Connection, Error, Symbol, Tls};

use crate::{args::ServerArgs, child, exit::Failure};

impl ServerArgs {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        self.open(self.builder()?).await
    }

    /// Opens one whose lock is lost this long before others may be granted it.
    pub(crate) async fn connect_to_stop(&self, within: Option<Duration>) -> Result<Connection, Failure> {
        let builder = self.builder()?;
        self.open(within.into_iter().fold(builder, Builder::stop_within)).await
    }

    async fn open(&self, builder: Builder) -> Result<Connection, Failure> {
        builder.connection().await.map_err(|error| match error {
            Error::StopWithin { left, .. } => child::kill_after_too_long(left),
            error if error.symbol() == Some(Symbol::Auth) && self.user.is_none() => Failure::denied(
                "the server requires a login; use --user NAME, with GETLOCK_PASSWORD or --password-file",
            ),
            error => error.into(),
        })
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut builder = Builder::new(&self.host).keepalive(self.keepalive);
        if let Some(user) = &self.user {
            builder = builder.user(user, self.password()?);
        }
        if let Some(tls) = self.tls()? {
            builder = builder.tls(tls);
        }
        Ok(builder)
    }

    /// Never from the command line, which every user of the machine can read.
    fn password(&self) -> Result<String, Failure> {
        if let Some(file) = &self.password_file {
            let text = String::from_utf8(read(file)?);
            let text = text.map_err(|_| Failure::usage(format_args!("{} is no text", file.display())))?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        std::env::var("GETLOCK_PASSWORD").map_err(|_| {
            Failure::usage("the user's password is missing: GETLOCK_PASSWORD or --password-file")
        })
    }

    fn tls(&self) -> Result<Option<Tls>, Failure> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some((read(chain)?, read(key)?)),
            (None, None) => None,
            _ => return Err(Failure::usage("--tls-cert and --tls-key belong together")),
        };
        let identity = identity.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
        let tls = match &self.tls_ca {
            Some(file) => Tls::of_authority(&read(file)?, identity)?,
            None if self.tls || identity.is_some() => Tls::of_system(identity)?,
            None => return Ok(None),
        };
        Ok(Some(tls))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", file.display())))
}
