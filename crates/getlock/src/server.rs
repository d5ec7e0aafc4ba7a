//! How `getlock` connects to the server.

use std::{fs, path::Path, time::Duration};

use getlockd_client::{Builder, Connection, Error, Symbol, Tls};

use crate::{args::ServerArgs, child, exit::Failure, introduction::OWN};

/// The value of `--host`: the address of the server, or those of a cluster's nodes, and as a URL also the user and whether
/// to use TLS.
#[derive(Debug, PartialEq, Eq)]
struct ServerUrl {
    server: String,
    user: Option<String>,
    tls: bool,
}

impl ServerUrl {
    /// Fails with what is wrong, never with the text itself, which may have a password in it.
    fn read(text: &str) -> Result<Self, &'static str> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self { server: text.to_owned(), user: None, tls: false });
        };
        let tls = match scheme {
            "getlock" => false,
            "getlocks" => true,
            _ => {
                return Err(
                    "expected HOST, HOST:PORT, getlock://HOST or getlocks://HOST (TLS), with the port of the \
                             line protocol: 3305 by default; for a cluster, several HOSTs with commas in between",
                );
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, server) =
            rest.rsplit_once('@').map_or((None, rest), |(user, server)| (Some(user), server));
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password in a URL can be read by every user of this machine; \
                        put it into GETLOCK_PASSWORD, or into a file for --password-file");
        }
        if server.is_empty() || server.contains(['/', '?', '#']) {
            return Err("expected getlock://USER@HOST:PORT, and nothing behind it");
        }
        let user = user.map(|user| decoded(user).ok_or("the user in the URL has a % that is no escape"));
        Ok(Self { server: server.to_owned(), user: user.transpose()?, tls })
    }
}

/// A text with `%40` for an `@`, and so on.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

impl ServerArgs {
    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        self.open(self.builder(OWN)?).await
    }

    /// Opens one for a command, whose lock is lost this long before others may be granted it.
    pub(crate) async fn connect_to_run(
        &self,
        command: &str,
        within: Option<Duration>,
    ) -> Result<Connection, Failure> {
        let builder = self.builder(command)?;
        self.open(within.into_iter().fold(builder, Builder::stop_within)).await
    }

    async fn open(&self, builder: Builder) -> Result<Connection, Failure> {
        builder.connection().await.map_err(|error| match error {
            Error::StopWithin { longest, cluster_ttl: Some(ttl), .. } => {
                child::kill_after_too_long_for_cluster(longest, ttl)
            }
            Error::StopWithin { left, .. } => child::kill_after_too_long(left),
            error if error.symbol() == Some(Symbol::Auth) && !self.has_user() => Failure::denied(
                "authentication required; use --user NAME with GETLOCK_PASSWORD or --password-file",
            ),
            error => error.into(),
        })
    }

    pub(crate) fn builder(&self, command: &str) -> Result<Builder, Failure> {
        let url = self.url()?;
        let tls = self.tls(url.tls)?;
        let mut builder = Builder::new(url.server).keepalive(self.keepalive);
        if let Some((user, password)) = self.login()? {
            builder = builder.user(user, password);
        }
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        Ok(self.introduce(builder, command))
    }

    /// The user and the password to log in with; none without a user.
    pub(crate) fn login(&self) -> Result<Option<(String, String)>, Failure> {
        let user = self.user.clone().map_or_else(|| self.url().map(|url| url.user), |user| Ok(Some(user)))?;
        user.map(|user| Ok((user, self.password()?))).transpose()
    }

    fn url(&self) -> Result<ServerUrl, Failure> {
        ServerUrl::read(&self.host)
            .map_err(|why| Failure::usage(format_args!("--host (GETLOCK_HOST): {why}")))
    }

    /// The server's address, for people.
    pub(crate) fn address(&self) -> String {
        self.url().map(|url| url.server).unwrap_or_default()
    }

    /// Whether there is a user to log in as.
    fn has_user(&self) -> bool {
        self.user.is_some() || self.url().is_ok_and(|url| url.user.is_some())
    }

    /// What is said of a list that may lack rows: with users, each sees what they may see.
    pub(crate) fn seen(&self) -> &'static str {
        if self.has_user() { " that you may see" } else { "" }
    }

    /// Never from the command line, which every user of the machine can read.
    fn password(&self) -> Result<String, Failure> {
        if let Some(file) = &self.password_file {
            let text = String::from_utf8(read(file)?);
            let text =
                text.map_err(|_| Failure::usage(format_args!("{} is not UTF-8 text", file.display())))?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        std::env::var("GETLOCK_PASSWORD").map_err(|_| {
            Failure::usage("the user's password is missing: GETLOCK_PASSWORD or --password-file")
        })
    }

    fn tls(&self, wanted: bool) -> Result<Option<Tls>, Failure> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some((read(chain)?, read(key)?)),
            (None, None) => None,
            _ => return Err(Failure::usage("--tls-cert and --tls-key belong together")),
        };
        let identity = identity.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
        let tls = match &self.tls_ca {
            Some(file) => Tls::of_authority(&read(file)?, identity)?,
            None if wanted || self.tls || identity.is_some() => Tls::of_system(identity)?,
            None => return Ok(None),
        };
        Ok(Some(tls))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_server_user_and_tls() {
        let read = |text| ServerUrl::read(text).map(|url| (url.server, url.user, url.tls));
        for (text, server, user, tls) in [
            ("locks", "locks", None, false),
            ("::1", "::1", None, false),
            ("getlock://locks", "locks", None, false),
            ("getlock://ana@locks:4000/", "locks:4000", Some("ana"), false),
            ("getlocks://a%40b@[::1]:1", "[::1]:1", Some("a@b"), true),
            ("a:1,b:1", "a:1,b:1", None, false),
            ("getlock://ana@a:1,b:1", "a:1,b:1", Some("ana"), false),
        ] {
            assert_eq!(read(text), Ok((server.to_owned(), user.map(str::to_owned), tls)), "{text}");
        }
    }

    #[test]
    fn wrong_urls_are_refused_without_their_text() {
        for (text, hint) in [
            ("http://locks:3308", "3305 by default"),
            ("getlock://ana:secret@locks", "GETLOCK_PASSWORD"),
            ("getlock://", "getlock://USER@HOST:PORT"),
            ("getlock://locks/nightly", "nothing behind it"),
            ("getlock://a%4@locks", "no escape"),
            ("getlock://a%é@locks", "no escape"),
        ] {
            let why = ServerUrl::read(text).unwrap_err();
            assert!(why.contains(hint) && !why.contains("secret"), "{text}: {why}");
        }
    }
}
