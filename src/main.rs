//! The `getlockd` server.

use std::{
    error::Error,
    io::{IsTerminal, Write, stderr, stdout},
    pin::pin,
    process::ExitCode,
};

use getlockd::{
    config::{Cli, Config, LogFormat, NotServing, Task},
    ping,
    server::Server,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

fn main() -> ExitCode {
    match Cli::read(std::env::args_os()) {
        Ok(Cli { task: None, config }) => exit(serve(&config)),
        Ok(Cli { task: Some(Task::Ping { server }), .. }) => exit(ping::ping(server)),
        Err(NotServing::Wrong(what)) => exit(Err(format!("{what} (--help explains)"))),
        Err(NotServing::Told(text)) => exit(stdout().write_all(text.as_bytes())),
    }
}

#[tokio::main]
async fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    log_to_stderr(config);
    // Before anything listens, so that a signal never finds its default action.
    let mut signals = Signals::new()?;
    let server = Server::bind(config)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = pin!(server.run(async { drop(stopped.await) }));
    tokio::select! {
        () = &mut serving => return Ok(()),
        () = signals.next() => drop(stop),
    }
    tokio::select! {
        () = serving => Ok(()),
        () = signals.next() => Err("a second signal ended it at once".into()),
    }
}

/// The signals that ask the server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

fn log_to_stderr(config: &Config) {
    let log = tracing_subscriber::fmt().with_max_level(config.log_level).with_writer(stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // With stderr closed there is nobody to tell.
    let _ = writeln!(stderr(), "getlockd: {error}");
    ExitCode::FAILURE
}
