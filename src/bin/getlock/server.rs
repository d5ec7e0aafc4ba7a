//! The way to the server.

use std::{fs, path::Path};

use getlockd::client::{Builder, Connection, Tls};

use crate::{args::ServerArgs, exit::Failure};

impl ServerArgs {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let connected = self.builder()?.connection().await;
        connected.map_err(|error| match error.symbol() {
            Some("AUTH") if self.user.is_none() => Failure::denied(
                "the server wants to know who you are: --user NAME, with GETLOCK_PASSWORD or --password-file",
            ),
            _ => error.into(),
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

    /// Never from the command line, where everybody on the machine can read it.
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
