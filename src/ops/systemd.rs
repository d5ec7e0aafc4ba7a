//! systemd: the sockets that it passes, and the states that it is notified of. Without systemd nothing is done here.

use std::{env, net::TcpListener, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState::{self, Ready, Reloading, Status, Stopping, Watchdog};
use socket2::SockRef;
use tokio::{task::spawn_blocking, time::interval};

/// The sockets that systemd passed to this process, each with the name from its unit.
#[derive(Debug)]
pub struct PassedSockets(Vec<(String, TcpListener)>);

/// Why a wire cannot listen on a socket of systemd.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// No socket has the name of the wire.
    #[error(
        "systemd passed no socket named {0}; set FileDescriptorName={0} in a .socket unit of this service"
    )]
    None(String),
    /// Several sockets have it. Clients of all but one would wait forever.
    #[error("systemd passed several sockets named {0}; a wire takes one: leave one of them")]
    Several(String),
    /// A socket is not a listening TCP socket.
    #[error("systemd passed something other than a listening TCP socket: {0}")]
    Kind(#[from] std::io::Error),
}

impl PassedSockets {
    /// Takes all sockets that were passed, once. To be called before the process opens anything else.
    ///
    /// # Errors
    /// [`PassedError::Kind`] if one of them is not a listening TCP socket.
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

    /// Takes the socket of this name.
    ///
    /// # Errors
    /// [`PassedError`] if there is none of this name, or more than one.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, PassedError> {
        let (mut of_name, others) =
            std::mem::take(&mut self.0).into_iter().partition::<Vec<_>, _>(|socket| socket.0 == name);
        self.0 = others;
        let (_, socket) = of_name.pop().ok_or_else(|| PassedError::None(name.to_owned()))?;
        if of_name.is_empty() { Ok(socket) } else { Err(PassedError::Several(name.to_owned())) }
    }

    /// The names of the sockets that no wire took.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn is_listening(socket: &TcpListener) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

/// Notifies systemd that the server serves, with a status line.
pub fn ready(status: &str) {
    tell(&[Ready, Status(status)]);
}

/// Notifies systemd that the server reloads its files. [`ready`] has to follow.
pub fn reloading() {
    // systemd accepts RELOADING=1 only together with the time.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[Reloading, now]);
    }
}

/// Notifies systemd that the server stops, with a status line.
pub fn stopping(status: &str) {
    tell(&[Stopping, Status(status)]);
}

/// Notifies the watchdog of systemd, if this service has one, with a status line. To be called in a task of the runtime
/// that serves: a runtime that is stuck must miss the watchdog.
///
/// Cancel-safe: dropped, it sends no more notifications.
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
        tracing::warn!(%error, "cannot notify systemd");
    }
}
