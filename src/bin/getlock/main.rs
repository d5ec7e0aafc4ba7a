//! `getlock`: a lock around a command, as flock(1) has it, for many machines; and lists for people.

mod args;
mod child;
mod exit;
mod json;
mod lists;
mod once;
mod run;
mod screen;
mod server;
mod signals;
mod table;
mod top;
mod waiting;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use args::{Cli, Task};
use clap::CommandFactory;
use exit::Failure;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    match start(cli) {
        Ok(code) => code.into(),
        Err(failure) => {
            say(&failure);
            failure.code().into()
        }
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
        Some(Task::Ls { prefix, json }) => return lists::ls(&server, &prefix, json).await,
        Some(Task::Why { name, json }) => return lists::why(&server, &name, json).await,
        Some(Task::Sessions { json }) => return lists::sessions(&server, json).await,
        Some(Task::Kill { session, cancel_wait }) => return lists::kill(&server, session, cancel_wait).await,
        Some(Task::Top { prefix }) => return top::top(&server, &prefix).await,
        Some(Task::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "getlock", &mut io::stdout());
            return Ok(exit::OK);
        }
        Some(Task::Man) => {
            let written = clap_mangen::Man::new(Cli::command()).render(&mut io::stdout());
            return exit::when_written(written);
        }
    };
    match run {
        Some(run) => run::run(&server, &run).await,
        None => Err(Failure::usage("say which lock, and what to run: getlock NAME -- COMMAND")),
    }
}

/// What clap has to tell: help, or what is wrong.
fn told(error: &clap::Error) -> ExitCode {
    // With nobody there to read it, nothing is lost.
    let _ = error.print();
    if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS }
}

/// One line to stderr.
fn say(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "getlock: {what}");
}
