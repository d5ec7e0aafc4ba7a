//! The `getlockd` server.

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    pin::pin,
    process::ExitCode,
};

use getlockd::{
    config::{Cli, Config, LogFormat, NotServing, Task},
    invite::invite,
    log::Few,
    ping,
    server::{Reloader, Server, check},
    systemd,
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(Cli { task: None, config }) => exit(run(&config)),
        Ok(Cli { task: Some(Task::Check(config)), .. }) => exit(tell(&config)),
        Ok(Cli { task: Some(Task::Ping { server }), config }) => {
            exit(server.map_or_else(|| config.to_ask(), Ok).and_then(ping::ping))
        }
        Ok(Cli { task: Some(Task::User(new)), .. }) => exit(invite(new)),
        Err(NotServing::Wrong(what)) => exit(Err(format!("{what} (--help explains)"))),
        Err(NotServing::Told(text)) => exit(stdout().write_all(text.as_bytes())),
    }
}

/// What a server with this configuration would do; what should be looked at goes to stderr.
fn tell(config: &Config) -> Result<(), Box<dyn Error>> {
    let checked = check(config)?;
    for warning in checked.warnings {
        writeln!(stderr(), "getlockd: warning: {warning}")?;
    }
    Ok(stdout().write_all(checked.report.as_bytes())?)
}

/// Few threads on purpose: see [`Config::workers`].
fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?.block_on(serve(config))
}

async fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    let log = log_to_stderr(config);
    let few = log.few.clone();
    tokio::spawn(async move { few.tell_each_second().await });
    // Before anything listens, so that a signal never finds its default action.
    let mut signals = Signals::new()?;
    let server = Server::bind(config)?;
    let (reloader, hub) = (server.reloader(), server.hub().clone());
    systemd::ready("serving");
    tokio::spawn(systemd::live(move || format!("{} sessions", hub.sessions())));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = pin!(server.run(async { drop(stopped.await) }));
    tokio::select! {
        () = &mut serving => return Ok(()),
        signal = signals.stop(&reloader) => {
            tracing::info!(signal, "told to stop");
            systemd::stopping("waits for those who hold locks");
            drop(stop);
        }
    }
    tokio::select! {
        () = serving => Ok(()),
        _ = signals.stop(&reloader) => Err("a second signal ended it at once".into()),
    }
}

/// The signals that ask the server to stop, and the one that asks it to read its files anew.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }

    /// Resolves when the server is to stop. Files are read here, in a thread that serves nobody.
    async fn stop(&mut self, reloader: &Reloader) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reload(reloader),
            }
        }
    }
}

/// What came of it is in the log as well.
fn reload(reloader: &Reloader) {
    systemd::reloading();
    match reloader.reload() {
        Ok(()) => systemd::ready("serving"),
        Err(_) => systemd::ready("serving; not all could be read anew, the log says why"),
    }
}

/// What is written when the program ends: what was not written before, and what still waits to be.
struct Log {
    few: Few,
    _flush: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.few.tell();
    }
}

/// A log that cannot be written loses lines; it never stops the server.
fn log_to_stderr(config: &Config) -> Log {
    let (writer, flush) = tracing_appender::non_blocking(stderr());
    let few = Few::default();
    let log = tracing_subscriber::registry().with(config.log_level.targets()).with(few.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match config.log_format {
        LogFormat::Text => log.with(lines.with_ansi(stderr().is_terminal())).init(),
        // The innermost span, which is all there is, and each field where a query finds it.
        LogFormat::Json => log.with(lines.json().flatten_event(true).with_span_list(false)).init(),
    }
    Log { few, _flush: flush }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // With stderr closed there is nobody to tell.
    let _ = writeln!(stderr(), "getlockd: {error}");
    ExitCode::FAILURE
}
