//! What can be said on the command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint,
    builder::FalseyValueParser, error::ErrorKind,
};
use clap_complete::Shell;
use getlockd_client::Timeout;
use getlockd_proto::environment::ignore_empty;

const EXIT_CODES: &str = "\
Exit codes:
  the command's own, or 128+N if signal N ended it; else
    1   the lock was not granted (-E says another)
   64   the command line is wrong
   69   the server is unreachable, refused the request, or went away during the wait
   71   an error of the operating system, such as a full disk
   75   the lock was lost while the command ran; the command was ended
   77   the login failed, or the user does not have the right
  126   the command cannot be run
  127   there is no such command

For a lock named like one of the commands above: getlock run ls -- COMMAND";

/// Take a lock, run a command, free the lock: flock(1) for many machines.
///
/// The lock is held by a connection to a getlockd server while the command runs, and is freed when the
/// command ends, or this program does, however it ends.
///
///   getlock nightly -- ./backup.sh
///
///   getlock -n nightly -- ./backup.sh     # or exit with 1 if it is held
///
///   getlock --once 55m nightly -- ./backup.sh     # one of many machines, once an hour
///
/// The command finds GETLOCK_NAME, GETLOCK_FENCING_TOKEN and GETLOCK_SESSION in its
/// environment, but not GETLOCK_PASSWORD. The signals TERM, HUP, INT, QUIT, USR1 and USR2 are
/// passed on to it.
///
/// When the lock is lost, the command gets SIGTERM, and SIGKILL after --kill-after. If
/// getlock itself is killed, the command dies with it on Linux, unless it is set-user-ID.
#[derive(Debug, Parser)]
#[command(
    name = "getlock",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES,
    override_usage = "getlock [OPTIONS] NAME [--] COMMAND...\n       getlock [OPTIONS] NAME -c COMMAND\n       getlock ls|why|history|sessions|kill|top|run|completions|man [OPTIONS]...",
    verbatim_doc_comment
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub run: Option<RunArgs>,

    #[command(flatten)]
    pub server: ServerArgs,

    #[command(subcommand)]
    pub task: Option<Task>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run a command under a lock; the long form of getlock NAME -- COMMAND
    Run(RunArgs),
    /// List the locks that are held
    Ls {
        /// Only those whose name starts so
        #[arg(default_value = "")]
        prefix: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell why a lock is not free: who holds it, what that one waits for, and so on
    Why {
        /// The lock
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the last holds of a lock that have ended: whose they were, and why they ended
    History {
        /// The lock
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the sessions: who is connected, or has a lease
    Sessions {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a session, and free its locks
    Kill {
        /// Its number, as the lists show it
        session: u32,
        /// Cancel its wait, and let the session and its locks be
        #[arg(long)]
        cancel_wait: bool,
    },
    /// Show locks and queues as they change; q quits
    Top {
        /// Only locks whose name starts so
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Write completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Write the manual page
    Man,
}

/// Which server, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The server: host, or host:port
    #[arg(long, global = true, env = "GETLOCK_HOST", default_value = "127.0.0.1", value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub host: String,

    /// The user; its password is in GETLOCK_PASSWORD, or in a file
    #[arg(long, global = true, env = "GETLOCK_USER", value_name = "NAME", value_hint = ValueHint::Username)]
    pub user: Option<String>,

    /// Where the user's password is
    #[arg(long, global = true, env = "GETLOCK_PASSWORD_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,

    /// Use TLS, and trust the authorities that this machine trusts
    #[arg(long, global = true, env = "GETLOCK_TLS", value_parser = FalseyValueParser::new())]
    pub tls: bool,

    /// Use TLS, and trust the authorities in this file (PEM)
    #[arg(long, global = true, env = "GETLOCK_TLS_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_ca: Option<PathBuf>,

    /// Use TLS, and show this client certificate (PEM)
    #[arg(long, global = true, env = "GETLOCK_TLS_CERT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// The key to it (PEM)
    #[arg(long, global = true, env = "GETLOCK_TLS_KEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// Time within which a wait notices that the server has vanished without a word
    #[arg(long, global = true, env = "GETLOCK_KEEPALIVE", default_value = "30s", value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub keepalive: Duration,
}

/// What to run under which lock.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running a command")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RunArgs {
    /// The lock
    pub name: String,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub words: Vec<OsString>,

    /// A command for the shell
    #[arg(
        short,
        long,
        value_name = "COMMAND",
        conflicts_with = "words",
        allow_hyphen_values = true,
        value_hint = ValueHint::CommandString
    )]
    pub command: Option<OsString>,

    /// Beside other shared holders
    #[arg(short, long)]
    pub shared: bool,

    /// Alone, which is the default
    #[arg(short = 'x', short_alias = 'e', long, conflicts_with = "shared")]
    pub exclusive: bool,

    /// Do not wait
    #[arg(short, long, visible_alias = "nb", alias = "nonblocking")]
    pub nonblock: bool,

    /// Wait at most this long: seconds, or with a unit (ms, s, m, h) [default: forever]
    #[arg(short, long, alias = "timeout", value_name = "SECONDS", conflicts_with = "nonblock", value_parser = wait, allow_negative_numbers = true)]
    pub wait: Option<Timeout>,

    /// The exit code for a lock that was not granted [default: 1; with --once 0]
    #[arg(short = 'E', long, value_name = "CODE", allow_negative_numbers = true)]
    pub conflict_exit_code: Option<u8>,

    /// Send SIGKILL this long after SIGTERM when the lock is lost [default: what fits, 9.5s as a rule]
    ///
    /// The command is dead before a server that has become unreachable grants the lock to anybody else. By default it
    /// has nearly two fifths of the time that the server waits for a silent client: 9.5s of 25s. A longer
    /// time is used too, and SIGTERM is then sent earlier. One that does not fit is refused.
    #[arg(long, value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub kill_after: Option<Duration>,

    /// When the lock is lost, print a warning and let the command run
    #[arg(long)]
    pub keep_running: bool,

    /// Send signals to everything that the command has started, and not to the command alone
    ///
    /// The command gets a process group of its own. It cannot read from the terminal then. If getlock itself is
    /// killed with SIGKILL, only the command dies with it (on Linux), and not the rest of the group.
    #[arg(long)]
    pub group: bool,

    /// Leave GETLOCK_PASSWORD in the environment of the command
    #[arg(long)]
    pub pass_password: bool,

    /// Run at most once within this time, of all that say so for this lock
    ///
    /// After a success the lock is kept until the time is over, counted from the grant: this program stays
    /// for so long. Others do not wait, unless -w says so, and exit with 0, unless -E says another code. After a failure the lock is freed at once, and another may try. If this program is ended, or
    /// the server or this machine restarts, the lock is free: within the same time it can then run again.
    #[arg(long, value_name = "WINDOW", value_parser = time, allow_negative_numbers = true)]
    pub once: Option<Duration>,

    /// Report each step on stderr
    #[arg(short, long)]
    pub verbose: bool,
}

impl RunArgs {
    pub(crate) fn timeout(&self) -> Timeout {
        match self.wait {
            Some(wait) => wait,
            None if self.nonblock || self.once.is_some() => Timeout::NONE,
            None => Timeout::Forever,
        }
    }
}

/// A time to wait. What is longer than a clock can hold is forever, as everywhere; -1 is more likely a mistake.
fn wait(text: &str) -> Result<Timeout, &'static str> {
    match text.parse() {
        Ok(wait) if !text.starts_with('-') => Ok(wait),
        _ => time(text).map(Timeout::Within),
    }
}

/// A time that ends: seconds, or with a unit.
fn time(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(Timeout::Within(time)) => Ok(time),
        _ => Err("say seconds, such as 10 or 0.5, or with a unit (ms, s, m, h) 500ms or 2m"),
    }
}

impl Cli {
    /// What is said on the command line and in the environment.
    pub(crate) fn read(mut args: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = ignore_empty(Self::command());
        if let Some(at) = task_at(&command, &args) {
            let task = args[at].display();
            if let [dashes, word, ..] = &args[at + 1..]
                && args[at] != "run"
                && dashes == "--"
                && !word.as_encoded_bytes().starts_with(b"-")
            {
                let told = format!(
                    "{task} is a word of getlock itself; for a lock of that name say: getlock run {task} -- COMMAND"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, told));
            }
            // Flags in front go behind its name, where clap looks for them: `--host x ls`.
            args[1..=at].rotate_right(1);
        }
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// Where one of our own commands stands; none where a lock does.
fn task_at(command: &clap::Command, args: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(taken) = args.get(at).and_then(|arg| words_of_global(command, arg)) {
        at += taken;
    }
    let word = args.get(at)?;
    command.get_subcommands().any(|task| task.get_name() == word).then_some(at)
}

/// How many words a flag takes that may stand anywhere; none for anything else.
fn words_of_global(command: &clap::Command, arg: &OsString) -> Option<usize> {
    let flag = arg.to_str()?.strip_prefix("--")?;
    let (name, is_whole) = flag.split_once('=').map_or((flag, false), |(name, _)| (name, true));
    let global = command.get_arguments().find(|arg| arg.is_global_set() && arg.get_long() == Some(name))?;
    let takes_value = matches!(global.get_action(), ArgAction::Set);
    Some(if takes_value && !is_whole { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::read(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn run(line: &str) -> (String, Vec<OsString>) {
        let run = parse(line).run.unwrap_or_else(|| panic!("{line} runs nothing"));
        (run.name, run.words)
    }

    fn words(words: &str) -> Vec<OsString> {
        words.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_after_the_name_are_the_command() {
        for line in
            ["getlock nightly -- ls -n", "getlock nightly ls -n", "getlock --host x -w 5 nightly ls -n"]
        {
            assert_eq!(run(line), ("nightly".to_owned(), words("ls -n")), "{line}");
        }
        assert_eq!(run("getlock nightly top").1, words("top"));
        assert_eq!(run("getlock nightly -n -- a -- b").1, words("a -- b"));
    }

    #[test]
    fn server_flags_may_stand_anywhere() {
        for line in [
            "getlock --host x --tls ls app",
            "getlock ls app --host x --tls",
            "getlock --host=x ls --tls app",
        ] {
            let cli = parse(line);
            assert!(cli.server.host == "x" && cli.server.tls, "{line}");
            assert!(matches!(cli.task, Some(Task::Ls { prefix, .. }) if prefix == "app"), "{line}");
        }
    }

    #[test]
    fn lock_may_have_the_name_of_a_subcommand() {
        let Some(Task::Run(run)) = parse("getlock --host x run ls -- df -h").task else { panic!("no run") };
        assert_eq!((run.name.as_str(), run.words), ("ls", words("df -h")));
        let refused = Cli::read(words("getlock --host x ls -- ./backup.sh")).unwrap_err().to_string();
        assert!(refused.contains("getlock run ls -- COMMAND"), "{refused}");
        assert!(matches!(parse("getlock why -- -n").task, Some(Task::Why { name, .. }) if name == "-n"));
    }
}
