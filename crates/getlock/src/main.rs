//! `getlock`: a lock around a command, as flock(1) has it, for many machines; and lists for people.

mod args;
mod child;
mod commands;
mod complete;
mod exit;
mod introduction;
mod lead;
mod manual;
mod orphans;
mod rows;
mod run;
mod screen;
mod server;
mod shell;
mod signals;
mod table;
mod top;
mod waiting;
mod watch;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use args::{Cli, Task};
use exit::Failure;
use getlockd_client::visible;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    complete::answer_shell();
    let cli = match Cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    match start(cli) {
        Ok(code) => code.into(),
        Err(failure) => failed(&failure),
    }
}

fn start(cli: Cli) -> Result<u8, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let code = runtime.block_on(perform(cli));
    // A thread that reads the keyboard is not waited for.
    runtime.shutdown_background();
    code
}

async fn perform(Cli { server, run, task }: Cli) -> Result<u8, Failure> {
    let run = match task {
        None => run,
        Some(Task::Run(run)) => Some(run),
        Some(Task::Ls { prefix, sort, output }) => return commands::ls(&server, &prefix, sort, output).await,
        Some(Task::Why { name, quiet: true, .. }) => return commands::is_held(&server, &name).await,
        Some(Task::Why { name, output, .. }) => return commands::why(&server, &name, output).await,
        Some(Task::Waiters { name, output }) => return commands::waiters(&server, &name, output).await,
        Some(Task::History { name, output }) => return commands::history(&server, &name, output).await,
        Some(Task::Sessions { output }) => return commands::sessions(&server, output).await,
        Some(Task::Nodes { output }) => return commands::nodes(&server, output).await,
        Some(Task::Kill { session, cancel_wait: true, .. }) => {
            return commands::cancel_wait(&server, session).await;
        }
        Some(Task::Kill { session, reason, .. }) => {
            return commands::kill(&server, session, reason.as_deref()).await;
        }
        Some(Task::Watch { prefix, json }) => return watch::watch(&server, &prefix, json).await,
        Some(Task::Top { prefix }) => return top::top(&server, &prefix).await,
        Some(Task::Shell) => return shell::shell(&server).await,
        Some(Task::Completions { shell }) => {
            return print(&complete::script(shell).map_err(Failure::system)?);
        }
        Some(Task::Man) => return print(manual::page().as_bytes()),
    };
    match run {
        Some(run) if run.lead => lead::lead(&server, &run).await,
        Some(run) => run::run(&server, &run).await,
        None => Err(Failure::usage("no lock and no command given. Usage: getlock NAME -- COMMAND")),
    }
}

fn print(text: &[u8]) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    exit::when_written(out.write_all(text).and_then(|()| out.flush()))
}

/// Prints what clap has to say: help, or an error.
fn told(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    if error.use_stderr() {
        // A stderr that cannot be written to is no reason for another exit code.
        return exit::USAGE.into();
    }
    match exit::when_written(printed) {
        Ok(code) => code.into(),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    say(failure);
    failure.code().into()
}

/// One line to stderr. It may quote a server, which must not change the terminal.
fn say(what: &dyn std::fmt::Display) {
    // In one write: another getlock may be writing to the same place.
    let line = format!("getlock: {}\n", visible(&what.to_string()));
    let _ = io::stderr().write_all(line.as_bytes());
}
