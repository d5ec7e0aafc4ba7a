//! The `getlockd` server.

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use getlockd::{
    config::{
        Cli, CliError, Config, LogFormat, Task, manual, ping, store_command, user_command::print_entry,
    },
    internal::{
        log::{RateLimit, VisibleLines, log_panics},
        systemd,
    },
    server::{CurrentService, Node, Reloader, Server, StartError, check, hand_over},
};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(Cli { task: None, config }) => exit(run(&config)),
        Ok(Cli { task: Some(Task::Check(config)), .. }) => exit(print_check(&config)),
        Ok(Cli { task: Some(Task::Ping { server }), config }) => {
            exit(server.map_or_else(|| config.ping_target(), Ok).and_then(ping::ping))
        }
        Ok(Cli { task: Some(Task::Store(args)), config }) => {
            exit(store_command::run(&args, &config).and_then(|text| Ok(print(text.as_bytes())?)))
        }
        Ok(Cli { task: Some(Task::HandOver(asked)), .. }) => {
            exit(hand_over(&asked).and_then(|line| Ok(print(line.as_bytes())?)))
        }
        Ok(Cli { task: Some(Task::User(new)), .. }) => exit(print_entry(new)),
        Ok(Cli { task: Some(Task::Completions { shell }), .. }) => exit(print(&manual::completions(shell))),
        Ok(Cli { task: Some(Task::Man), .. }) => exit(print(manual::page().as_bytes())),
        Err(CliError::Invalid(what)) => exit(Err(format!("{what} (see --help)"))),
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

/// Prints what a server with this configuration would do, and warnings to stderr.
fn print_check(config: &Config) -> Result<(), Box<dyn Error>> {
    let checked = check(config)?;
    for warning in checked.warnings {
        writeln!(stderr(), "getlockd: warning: {warning}")?;
    }
    Ok(stdout().write_all(checked.report.as_bytes())?)
}

/// Runs the server. It has few threads on purpose: see [`Config::workers`].
fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // Dropped, it would wait for a write of the lease store to a disk that hangs.
    runtime.shutdown_background();
    served
}

async fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    let log = log_to_stderr(config);
    let rate_limit = log.rate_limit.clone();
    tokio::spawn(async move { rate_limit.run().await });
    // Before anything listens, so that a signal never has its default action.
    let (mut stops, hangup) = (StopSignals::new()?, signal(SignalKind::hangup())?);
    // A limit on the size of files is a full disk to the lease store, and not the end of the server.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let (config, on_terminal) = (config.clone(), is_read_on_terminal(config));
    let drain = config.drain;
    let server = tokio::select! {
        server = in_thread(move || BoundServer::new(&config)) => server.map_err(|_| "cannot start a thread")??,
        signal = stops.next() => return Err(format!("stopped by {signal} before it was serving").into()),
    };
    if let Some(first_steps) = server.first_steps().filter(|_| on_terminal) {
        tracing::info!("{first_steps}");
    }
    let (at_once, ready, current) = (server.at_once(), server.ready(), server.current());
    let has_holders = {
        let current = current.clone();
        move || current.service().is_some_and(|service| service.stats().table.locks > 0)
    };
    tokio::spawn(reload_on(hangup, server.reloader()));
    tokio::spawn(async move {
        ready.cancelled().await;
        systemd::ready("serving");
        let sessions = move || current.service().map_or(0, |service| service.registry().count());
        systemd::watchdog(move || format!("{} sessions", sessions())).await;
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = pin!(server.run(async { drop(stopped.await) }));
    tokio::select! {
        () = &mut serving => return Ok(()),
        signal = stops.next() => {
            tracing::info!(signal, "stop requested");
            if on_terminal && has_holders() {
                tracing::info!("waiting up to {drain:?} for sessions that hold locks; press ^C again to stop now");
            }
            systemd::stopping("waiting for sessions that hold locks");
            drop(stop);
        }
    }
    tokio::select! {
        () = &mut serving => Ok(()),
        _ = stops.next() => {
            at_once.cancel();
            // Holders are told. The server does not wait for a client that does not read.
            let _ = timeout(LAST_LINE, serving).await;
            Err("stopped at once by a second signal".into())
        }
    }
}

/// What listens: a server alone, or a node of a cluster.
enum BoundServer {
    Alone(Box<Server>),
    Node(Box<Node>),
}

impl BoundServer {
    fn new(config: &Config) -> Result<Self, StartError> {
        Ok(if config.cluster.is_on() {
            Self::Node(Box::new(Node::bind(config)?))
        } else {
            Self::Alone(Box::new(Server::bind(config)?))
        })
    }

    fn first_steps(&self) -> Option<String> {
        match self {
            Self::Alone(server) => server.first_steps(),
            Self::Node(node) => node.first_steps(),
        }
    }

    fn at_once(&self) -> CancellationToken {
        match self {
            Self::Alone(server) => server.at_once(),
            Self::Node(node) => node.at_once(),
        }
    }

    fn ready(&self) -> CancellationToken {
        match self {
            Self::Alone(server) => server.ready(),
            Self::Node(node) => node.ready(),
        }
    }

    fn current(&self) -> Arc<dyn CurrentService> {
        match self {
            Self::Alone(server) => server.current(),
            Self::Node(node) => node.current(),
        }
    }

    fn reloader(&self) -> Reloader {
        match self {
            Self::Alone(server) => server.reloader(),
            Self::Node(node) => node.reloader(),
        }
    }

    /// Cancel-safe: dropped, it stops accepting; open connections go on.
    async fn run(self, stop: impl Future<Output = ()>) {
        match self {
            Self::Alone(server) => server.run(stop).await,
            Self::Node(node) => node.run(stop).await,
        }
    }
}

/// Whether a person reads the log as it is written.
fn is_read_on_terminal(config: &Config) -> bool {
    config.log_format == LogFormat::Text && stderr().is_terminal()
}

/// How long telling holders about a second signal may take.
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

    /// Waits for the next signal and returns its name. Cancel-safe.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How long reading the files may take before the log says that it hangs.
const READ_TIME: Duration = Duration::from_secs(10);

/// Reloads the files on each SIGHUP, one reload at a time.
async fn reload_on(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        systemd::reloading();
        let reloader = reloader.clone();
        let mut reading = in_thread(move || reloader.reload().is_ok());
        let read = timeout(READ_TIME, &mut reading).await;
        // The log has the result in full.
        systemd::ready(match read {
            Ok(Ok(true)) => "serving",
            _ => "serving; the last reload failed, see the log",
        });
        if read.is_err() {
            tracing::error!(
                "the reload hangs: the files could not be read within {READ_TIME:?}; the old users and certificate \
                 stay in use"
            );
            drop(reading.await);
        }
    }
}

/// Runs `work`, which reads files, in a thread of its own: a read can hang forever, for example on a network file system,
/// and neither the server nor the exit of the program may wait for it.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        let _entered = runtime.enter();
        drop(done.send(work()));
    };
    // If no thread can be started, the sender is dropped, and the receiver fails.
    let _ = thread::Builder::new().name("files".to_owned()).spawn(run);
    result
}

/// The log. Dropped at exit, it writes its queue and the counts of suppressed lines.
struct Log {
    rate_limit: RateLimit,
    _flush: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.rate_limit.flush();
    }
}

/// Logs to stderr. A log that cannot be written loses lines; it never blocks the server.
fn log_to_stderr(config: &Config) -> Log {
    let (writer, flush) = tracing_appender::non_blocking(stderr());
    let rate_limit = RateLimit::default();
    let log = tracing_subscriber::registry().with(config.log_level.targets()).with(rate_limit.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match config.log_format {
        LogFormat::Text => log.with(lines.with_ansi(stderr().is_terminal())).init(),
        // With the innermost span, which is the only one, and with each field at the top level, for queries.
        LogFormat::Json => {
            let lines = lines.map_writer(VisibleLines).json();
            log.with(lines.flatten_event(true).with_span_list(false)).init();
        }
    }
    log_panics();
    Log { rate_limit, _flush: flush }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // If stderr is closed, there is nowhere to report the error.
    let _ = writeln!(stderr(), "getlockd: {error}");
    ExitCode::FAILURE
}
