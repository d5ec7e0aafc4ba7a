//! The `getlockd` server.

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    pin::pin,
    process::ExitCode,
    thread,
    time::Duration,
};

use getlockd::{
    config::{Cli, CliError, Config, LogFormat, Task, manual, ping, user_command::print_entry},
    internal::{
        log::{RateLimit, log_panics},
        systemd,
    },
    server::{Reloader, Server, check},
};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(Cli { task: None, config }) => exit(run(&config)),
        Ok(Cli { task: Some(Task::Check(config)), .. }) => exit(print_check(&config)),
        Ok(Cli { task: Some(Task::Ping { server }), config }) => {
            exit(server.map_or_else(|| config.ping_target(), Ok).and_then(ping::ping))
        }
        Ok(Cli { task: Some(Task::User(new)), .. }) => exit(print_entry(new)),
        Ok(Cli { task: Some(Task::Completions { shell }), .. }) => exit(print(&manual::completions(shell))),
        Ok(Cli { task: Some(Task::Man), .. }) => exit(print(manual::page().as_bytes())),
        Err(CliError::Invalid(what)) => exit(Err(format!("{what} (--help explains)"))),
        Err(CliError::Help(text)) => exit(print(text.as_bytes())),
    }
}

/// A reader that has closed the pipe, as `head` does, is no failure.
fn print(text: &[u8]) -> std::io::Result<()> {
    match stdout().write_all(text).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// What a server with this configuration would do; what should be looked at goes to stderr.
fn print_check(config: &Config) -> Result<(), Box<dyn Error>> {
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
    let rate_limit = log.rate_limit.clone();
    tokio::spawn(async move { rate_limit.run().await });
    // Before anything listens, so that a signal never finds its default action.
    let (mut stops, hangup) = (StopSignals::new()?, signal(SignalKind::hangup())?);
    let config = config.clone();
    let server = tokio::select! {
        server = in_thread(move || Server::bind(&config)) => server.map_err(|_| "cannot start a thread")??,
        signal = stops.next() => return Err(format!("{signal} came before it served").into()),
    };
    let (at_once, service) = (server.at_once(), server.service().clone());
    tokio::spawn(reload_on(hangup, server.reloader()));
    systemd::ready("serving");
    tokio::spawn(systemd::watchdog(move || format!("{} sessions", service.registry().count())));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = pin!(server.run(async { drop(stopped.await) }));
    tokio::select! {
        () = &mut serving => return Ok(()),
        signal = stops.next() => {
            tracing::info!(signal, "told to stop");
            systemd::stopping("waits for those who hold locks");
            drop(stop);
        }
    }
    tokio::select! {
        () = &mut serving => Ok(()),
        _ = stops.next() => {
            at_once.cancel();
            // Holders are told. A client that does not read it is not waited for.
            let _ = timeout(LAST_LINE, serving).await;
            Err("a second signal ended it at once".into())
        }
    }
}

/// How long it takes at most to tell holders that a second signal has come.
const LAST_LINE: Duration = Duration::from_secs(1);

/// The signals that ask the server to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Cancel-safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How long reading the files may take before the log says that it does not end.
const READ_TIME: Duration = Duration::from_secs(10);

/// Reads the files again whenever SIGHUP comes, one read at a time.
async fn reload_on(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        systemd::reloading();
        let reloader = reloader.clone();
        let mut reading = in_thread(move || reloader.reload().is_ok());
        let read = timeout(READ_TIME, &mut reading).await;
        // The log has the result as well.
        systemd::ready(match read {
            Ok(Ok(true)) => "serving",
            _ => "serving; not everything was reloaded, the log says why",
        });
        if read.is_err() {
            tracing::error!(
                "the files are not read within {READ_TIME:?}; all stays as it was until they are"
            );
            drop(reading.await);
        }
    }
}

/// Runs what reads files in a thread of its own: a read can hang forever, as on a network file system, and neither the
/// server nor the end of the program may wait for it.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        let _entered = runtime.enter();
        drop(done.send(work()));
    };
    // Without a thread the sender is dropped, and the receiver says so.
    let _ = thread::Builder::new().name("files".to_owned()).spawn(run);
    result
}

/// Writes what is left of the log when the program ends: the counts of lines that were held back, and the queue.
struct Log {
    rate_limit: RateLimit,
    _flush: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.rate_limit.flush();
    }
}

/// A log that cannot be written loses lines; it never stops the server.
fn log_to_stderr(config: &Config) -> Log {
    let (writer, flush) = tracing_appender::non_blocking(stderr());
    let rate_limit = RateLimit::default();
    let log = tracing_subscriber::registry().with(config.log_level.targets()).with(rate_limit.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match config.log_format {
        LogFormat::Text => log.with(lines.with_ansi(stderr().is_terminal())).init(),
        // The innermost span, which is the only one, and each field at the top, where a query finds it.
        LogFormat::Json => log.with(lines.json().flatten_event(true).with_span_list(false)).init(),
    }
    log_panics();
    Log { rate_limit, _flush: flush }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // With stderr closed there is nobody to tell.
    let _ = writeln!(stderr(), "getlockd: {error}");
    ExitCode::FAILURE
}
