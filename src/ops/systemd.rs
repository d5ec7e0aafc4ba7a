//! systemd: the sockets that it passes, and the states that it is notified of. Without systemd nothing is done here.

use std::{env, net::TcpListener, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState::{self, Ready, Reloading, Status, Stopping, Watchdog};
use socket2::SockRef;
use tokio::{task::spawn_blocking, time::interval};

/// The sockets that came with the start of the process, each with the name that its unit gives it.
#[derive(Debug)]
pub struct PassedSockets(Vec<(String, TcpListener)>);

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// None of that name.
    #[error(
        "systemd passed no socket called {0}: a .socket unit of this service needs FileDescriptorName={0}"
    )]
    None(String),
    /// Clients of all but one would wait forever.
    #[error("systemd passed several sockets called {0}; a wire has one")]
    Several(String),
    /// It is of another kind.
    #[error("systemd passed something else than a listening TCP socket: {0}")]
    Kind(#[from] std::io::Error),
}

impl PassedSockets {
    /// Takes them, once. To be called before anything else is opened.
    ///
    /// # Errors
    /// When one of them is no listening socket of TCP.
    pub fn take_all() -> Result<Self, PassedError> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut fds = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            let socket = fds.take_tcp_listener(index)?.filter(is_listening);
            let socket = socket.ok_or_else(|| std::io::Error::other(format!("{name} does not listen")))?;
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    /// The one of this name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, PassedError> {
        let (mut of_name, others) =
            std::mem::take(&mut self.0).into_iter().partition::<Vec<_>, _>(|socket| socket.0 == name);
        self.0 = others;
        let (_, socket) = of_name.pop().ok_or_else(|| PassedError::None(name.to_owned()))?;
        if of_name.is_empty() { Ok(socket) } else { Err(PassedError::Several(name.to_owned())) }
    }

    /// The names of those that no wire took.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn is_listening(socket: &TcpListener) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

/// It serves.
pub fn ready(status: &str) {
    tell(&[Ready, Status(status)]);
}

/// It reloads its files; [`ready`] follows.
pub fn reloading() {
    // systemd takes the one only with the other.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[Reloading, now]);
    }
}

/// It was told to stop.
pub fn stopping(status: &str) {
    tell(&[Stopping, Status(status)]);
}

/// Notifies the watchdog if systemd has one for this service, with a status line. To be called in a task of the runtime
/// that serves: a runtime that is stuck notifies nobody.
///
/// Cancel-safe: dropped, no more follow.
pub async fn watchdog(status: impl Fn() -> String) {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| *within > Duration::ZERO) else {
        return;
    };
    let mut ticks = interval(within / 2);
    loop {
        ticks.tick().await;
        let status = status();
        // On a thread of its own: a systemd that does not read must not stop the runtime.
        drop(spawn_blocking(move || tell(&[Watchdog, Status(&status)])).await);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
