//! How to connect.

use std::{fmt, io, sync::Arc, time::Duration};

use getlockd_proto::{DEFAULT_PORT, escape::Written, keepalive::Keepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    Error,
    driver::ByteStream,
    introduction::{introduction, own_program},
    servers::{Servers, with_port},
};

/// The most characters of a name and of a note (protocol.md, `INTRODUCE`).
pub(crate) const MAX_TEXT: usize = 256;

/// The most bytes of each as they are written: a line has at most 1024.
const MAX_WRITTEN: usize = 500;

/// How long the system may take to reach a server.
const REACH_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take until there is an answer. A node of a cluster is silent for up to 10 s while no node leads.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How to connect to a server, or to the nodes of a cluster, and as which user.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), getlockd_client::Error> {
/// use std::time::Duration;
/// use getlockd_client::Client;
///
/// let client = Client::builder("locks.example.org")
///     .user("deploy", std::env::var("GETLOCK_PASSWORD").unwrap_or_default())
///     .name("deploy of web-1")
///     .keepalive(Duration::from_secs(10))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Builder {
    pub(crate) servers: Arc<Servers>,
    pub(crate) login: Option<(String, String)>,
    pub(crate) name: Option<String>,
    pub(crate) note: Option<String>,
    connect_time: Option<Duration>,
    keepalive: Duration,
    pub(crate) stop_within: Option<Duration>,
    pub(crate) idle: usize,
    pub(crate) retry: Duration,
    #[cfg(feature = "tls")]
    tls: Option<crate::Tls>,
}

impl Builder {
    /// For a server: `host:port`, or `host` for port 3305. For a cluster, several of them with commas in between:
    /// `a:3305,b:3305`. They are tried in turn, the one that was good last before the others.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            servers: Servers::of(&server.into()),
            login: None,
            name: None,
            note: None,
            connect_time: None,
            keepalive: Duration::from_secs(30),
            stop_within: None,
            idle: 4,
            retry: Duration::from_secs(10),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Logs in as this user. Without TLS the password can be read on its way.
    #[must_use]
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: Some((name.into(), password.into())), ..self }
    }

    /// What this program calls itself: `client` in the server's lists, for anyone who asks who holds a lock. By default
    /// `user@host[pid] program`, as [`introduction`] has it. With an empty name and without a note it does not
    /// introduce itself. At most 256 characters; what is longer is cut off.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// A note for people, such as why the locks are taken: `note` in the server's lists. At most 256 characters; what is
    /// longer is cut off.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Uses TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: crate::Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// How long it may take until there is a connection and the server has answered, with all addresses together. By
    /// default 15 s, of which it may take 10 s to reach the server.
    #[must_use]
    pub fn connect_time(self, within: Duration) -> Self {
        Self { connect_time: Some(within), ..self }
    }

    /// How long all addresses together may take.
    pub(crate) fn answer_within(&self) -> Duration {
        self.connect_time.unwrap_or(ANSWER_WITHIN)
    }

    /// Within which time a wait or an idle connection ends when the server's machine, or the network, has vanished
    /// without a word; 30 s by default, and at least 3 s. A lock is lost earlier:
    /// see [`Builder::stop_within`].
    #[must_use]
    pub fn keepalive(self, within: Duration) -> Self {
        Self { keepalive: within.max(Duration::from_secs(3)), ..self }
    }

    /// How long your work needs to stop when its lock is lost; by default two fifths of what the server
    /// promises, which is 10 s of 25 s with a server's default `--keepalive`.
    ///
    /// A server whose machine or network has vanished grants a lock to nobody else for some time. A guard
    /// asks the server again and again, and is lost `stop_within` before that time is over. Its connection
    /// is closed when the guard is dropped or that time is over, so a server that was only slow does not release
    /// the lock earlier.
    ///
    /// The first connection fails with [`Error::StopWithin`] if this is four fifths of the server's time or more. In a
    /// cluster three tenths of `--cluster-ttl` and all of `--takeover-delay` are the most. That is the default there, unless two
    /// fifths of what the leader promises are less.
    #[must_use]
    pub fn stop_within(self, time: Duration) -> Self {
        Self { stop_within: Some(time), ..self }
    }

    /// How many connections without a lock a [`Client`](crate::Client) keeps for the next locks; 4 by default.
    #[must_use]
    pub fn idle(self, most: usize) -> Self {
        Self { idle: most, ..self }
    }

    /// For how long a [`Client`](crate::Client) tries a call again whose connection failed before there was an answer; 10 s
    /// by default. A call that waited in a queue starts at its end again.
    #[must_use]
    pub fn retry(self, within: Duration) -> Self {
        Self { retry: within, ..self }
    }

    /// Opens the stream alone, with TLS if that is set, for a program that speaks the line protocol itself. It does not
    /// log in, and nothing bounds its time.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn open_stream(&self) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Error> {
        self.first_good(Duration::MAX, |address, reach| self.stream(address, reach)).await
    }

    /// Makes a try at each address in turn, until one is good or fails for a reason that another address does not mend. A
    /// try has its part of the time: a node that does not answer must leave some to the others.
    ///
    /// Cancel-safe if the tries are.
    pub(crate) async fn first_good<T, F: Future<Output = Result<T, Error>>>(
        &self,
        within: Duration,
        mut one: impl FnMut(String, Duration) -> F,
    ) -> Result<T, Error> {
        let (began, mut errors, addresses) = (Instant::now(), Vec::new(), self.servers.in_turn());
        let usual = Servers::share(within, addresses.len());
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {usual:?}"));
        for (at, &(number, address)) in addresses.iter().enumerate() {
            let rest = addresses.len() - at;
            let part = Servers::share(within.saturating_sub(began.elapsed()), rest);
            // Who is reached may be silent for a while. Who is not reached in half of that time is likely to be gone.
            let reach = part.min(self.connect_time.unwrap_or(REACH_WITHIN));
            let reach =
                if rest > 1 { reach.min(Servers::share(self.answer_within(), rest) / 2) } else { reach };
            self.servers.tried(number);
            let done = timeout(part, one(address.to_owned(), reach)).await;
            match done.unwrap_or_else(|_| Err(failed(address, late()))) {
                Err(error) if error.is_transient() => errors.push(error),
                done => {
                    self.servers.is_good(number);
                    return done;
                }
            }
        }
        Err(Servers::failed(errors).unwrap_or_else(|| self.failed(io::ErrorKind::NotFound.into())))
    }

    /// Opens what a connection to one address goes over. The system may take `reach` to reach it.
    ///
    /// Cancel-safe.
    pub(crate) async fn stream(
        &self,
        address: String,
        reach: Duration,
    ) -> Result<Box<dyn ByteStream>, Error> {
        let failed = |error| failed(&address, error);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not reached within {reach:.1?}"));
        let reached = timeout(reach, TcpStream::connect(with_port(&address, DEFAULT_PORT))).await;
        let stream = reached.map_err(late).flatten().map_err(failed)?;
        Keepalive(self.keepalive).prepare(&stream).map_err(failed)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(Box::new(tls.wrap(crate::servers::host(&address), stream).await.map_err(failed)?));
        }
        Ok(Box::new(stream))
    }

    /// The line that introduces this client to the server, with its end; none for a client without a name and a note. For
    /// programs that speak the line protocol over [`Builder::open_stream`].
    pub fn introduction(&self) -> Option<String> {
        let (name, note) = (self.own_name(), self.note.as_deref().unwrap_or_default());
        let [name_start, note_start] = [&name, note].map(written_start);
        (!name.is_empty() || !note.is_empty()).then(|| format!("INTRODUCE {name_start} {note_start}\n"))
    }

    /// The name that was given, or by default who runs which program.
    pub(crate) fn own_name(&self) -> String {
        // Not kept: a forked child has another process ID.
        self.name.clone().unwrap_or_else(|| introduction(&own_program()))
    }

    pub(crate) fn failed(&self, error: io::Error) -> Error {
        Error::Connect { server: self.servers.to_string(), error: Arc::new(error) }
    }
}

/// The error of one address.
pub(crate) fn failed(address: &str, error: io::Error) -> Error {
    Error::Connect { server: with_port(address, DEFAULT_PORT), error: Arc::new(error) }
}

/// As much of a text as a line has room for, as it is written there.
fn written_start(text: &str) -> String {
    let start = |length| Written(&text.chars().take(length).collect::<String>()).to_string();
    (0..=MAX_TEXT).rev().map(start).find(|written| written.len() <= MAX_WRITTEN).unwrap_or_default()
}

/// Never shows the password.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.as_ref().map(|(user, _)| user);
        f.debug_struct("Builder")
            .field("server", &self.servers.to_string())
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introduction_fits_a_line() {
        assert_eq!(Builder::new("x").name("").introduction(), None);
        let named = Builder::new("x").name("web-1").note("ask ops");
        assert_eq!(named.introduction().unwrap(), "INTRODUCE web-1 'ask ops'\n");
        assert_eq!(Builder::new("x").name("").note("a").introduction().unwrap(), "INTRODUCE '' a\n");
        for text in ["x", "é", "語", "\u{202e}"] {
            let long = Builder::new("x").name(text.repeat(1000)).note(text.repeat(1000));
            let line = long.introduction().unwrap();
            assert!(line.len() <= 1024 && line.ends_with('\n'), "{} bytes", line.len());
        }
    }

    #[test]
    fn default_name_tells_user_host_process_and_program() {
        let name = Builder::new("x").own_name();
        let (user, rest) = name.split_once('@').unwrap();
        let (host, rest) = rest.split_once(&format!("[{}] ", std::process::id())).unwrap();
        assert!(!user.is_empty() && !host.is_empty() && rest.starts_with("getlockd_client-"), "{name}");
        assert_eq!(Builder::new("x").name("web-1").own_name(), "web-1");
    }

    #[test]
    fn debug_hides_the_password() {
        assert!(!format!("{:?}", Builder::new("x").user("deploy", "secret")).contains("secret"));
    }
}
