//! What can be said on the command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint,
    builder::FalseyValueParser, error::ErrorKind,
};
use clap_complete::Shell;
use getlockd_client::{Timeout, written};
use getlockd_proto::{environment::ignore_empty, manual::usage};

use crate::exit;

pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("1", "the lock was not granted (-E says another); kill and cancel-wait: no such session or wait"),
    ("64", "the command line is wrong"),
    ("69", "the server is unreachable, refused the request, or went away during the wait"),
    ("71", "an error of the operating system, such as a full disk"),
    ("75", "the lock was lost while the command ran; the command was ended"),
    ("77", "authentication failed, or permission denied"),
    ("126", "the command cannot be run"),
    ("127", "there is no such command"),
];

fn after_help() -> String {
    let codes =
        EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:>3}   {meaning}\n")).collect::<String>();
    format!(
        "Exit codes:\n  the command's own, or 128+N if signal N ended it; else\n{codes}\n\
         For a lock named like one of the commands above: getlock run ls -- COMMAND"
    )
}

/// Run a command while holding a lock: flock(1) across machines.
///
/// The lock is held by a connection to a getlockd server while the command runs. It is released when the
/// command ends, or when getlock itself ends for any reason.
///
///   getlock nightly -- ./backup.sh
///
///   getlock -n nightly -- ./backup.sh     # exit with 1 if the lock is held
///
///   getlock --once 55m nightly -- ./backup.sh     # on one of many machines, once an hour
///
///   getlock --lead scheduler -- ./scheduler.sh     # on one machine, and on another one if that fails
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
    after_help = after_help(),
    override_usage = "getlock [OPTIONS] NAME [--] COMMAND...\n       getlock [OPTIONS] NAME -c COMMAND\n       getlock ls|why|waiters|history|sessions|nodes|watch|kill|top|shell|run|completions|man [OPTIONS]...",
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
    /// List the locks that are held, and their holders
    Ls {
        /// Only locks whose name starts with PREFIX
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Sort the list; held and waiters put the largest first
        #[arg(long, value_enum, value_name = "KEY", default_value_t)]
        sort: SortBy,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show why a lock is not free: its holder, the lock that this session waits for, and so on
    ///
    /// The exit code is 0 whether the lock is held or free. With --quiet it is 0 if the lock is held, and 1 if it is free.
    Why {
        /// The lock
        name: String,
        /// Print nothing; exit with 0 if the lock is held, and with 1 if it is free
        #[arg(short, long, conflicts_with_all = ["json", "long"])]
        quiet: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the sessions that wait for a lock, in the order in which they will get it
    Waiters {
        /// The lock
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the last holds of a lock that have ended: whose they were, and why they ended
    History {
        /// The lock
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the sessions: connections and leases
    Sessions {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the nodes of the cluster: which one leads, and how many connections the others relay to it
    Nodes {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print what happens to locks as it happens: taken, freed, or lost
    ///
    /// It runs until SIGINT or SIGTERM, and exits with 0 then. The exit code is 69 if the connection is lost.
    Watch {
        /// Only locks whose name starts with PREFIX
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Print JSON, one object a line, as GET /api/watch has it
        #[arg(long)]
        json: bool,
    },
    /// End a session and release its locks
    Kill {
        /// Session ID (see getlock sessions)
        #[arg(value_name = "SESSION", value_parser = session_id)]
        session: u32,
        /// Cancel its wait, but keep the session and its locks
        #[arg(long)]
        cancel_wait: bool,
        /// Tell the other side why; history shows it too
        #[arg(long, value_name = "TEXT", conflicts_with = "cancel_wait")]
        reason: Option<String>,
    },
    /// Show locks and queues as they change; ? shows the keys
    Top {
        /// Only locks whose name starts with PREFIX
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// Type commands of the line protocol, with line editing and completion
    ///
    /// The session lasts until Ctrl-D or QUIT: then its locks are released. Ctrl-C cancels a wait and keeps the session.
    /// Tab completes commands and the names of locks. Without a terminal, commands are read from stdin.
    Shell,
    /// Print the completion script for a shell
    ///
    /// It completes flags, commands and the names of the locks that are held.
    ///
    ///   getlock completions bash > /etc/bash_completion.d/getlock
    ///
    ///   getlock completions zsh > /usr/local/share/zsh/site-functions/_getlock
    ///
    ///   getlock completions fish > ~/.config/fish/completions/getlock.fish
    #[command(verbatim_doc_comment)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    ///
    ///   getlock man > /usr/local/share/man/man1/getlock.1
    #[command(verbatim_doc_comment)]
    Man,
}

/// How a list is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArgs {
    /// Print JSON, as GET /api/locks and so on do
    #[arg(long)]
    pub json: bool,
    /// Print all columns in full, however wide; the default where stdout is not a terminal
    #[arg(short, long, conflicts_with = "json")]
    pub long: bool,
}

/// By what a list of locks is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    #[default]
    Name,
    Held,
    Waiters,
}

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The server: HOST, HOST:PORT, or getlock://USER@HOST:PORT; getlocks:// for TLS. Nodes of a cluster: HOST,HOST,HOST
    #[arg(long, global = true, env = "GETLOCK_HOST", default_value = "127.0.0.1", value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub host: String,

    /// Log in as this user; the password is in GETLOCK_PASSWORD, or in a file
    #[arg(long, global = true, env = "GETLOCK_USER", value_name = "NAME", value_hint = ValueHint::Username)]
    pub user: Option<String>,

    /// Read the user's password from this file
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

    /// The key of the client certificate (PEM)
    #[arg(long, global = true, env = "GETLOCK_TLS_KEY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// How long a wait lasts at most after the server has vanished silently
    #[arg(long, global = true, env = "GETLOCK_KEEPALIVE", default_value = "30s", value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub keepalive: Duration,

    /// A note for people, shown in all lists beside the user, the host, the process and the name of the command
    #[arg(long, global = true, env = "GETLOCK_NOTE", value_name = "TEXT")]
    pub note: Option<String>,

    /// Do not tell the server who runs getlock, nor the name of the command, nor a note
    #[arg(long, global = true, env = "GETLOCK_NO_INTRODUCE", value_parser = FalseyValueParser::new())]
    pub no_introduce: bool,
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

    /// Run this line in a shell
    #[arg(
        short,
        long,
        value_name = "COMMAND",
        conflicts_with = "words",
        allow_hyphen_values = true,
        value_hint = ValueHint::CommandString
    )]
    pub command: Option<OsString>,

    /// Take a shared lock
    #[arg(short, long)]
    pub shared: bool,

    /// Take one of N permits of the lock: at most N commands run at a time
    ///
    /// All commands that use the lock give the same number.
    #[arg(long, value_name = "N", conflicts_with_all = ["shared", "exclusive"], value_parser = clap::value_parser!(u16).range(1..))]
    pub permits: Option<u16>,

    /// Take this lock too; may be given several times
    ///
    /// getlock takes all locks or none, in one wait, during which it holds none of them. GETLOCK_NAME is the first one.
    #[arg(long, value_name = "NAME", conflicts_with = "permits")]
    pub also: Vec<String>,

    /// Take an exclusive lock (default)
    #[arg(short = 'x', short_alias = 'e', long, conflicts_with = "shared")]
    pub exclusive: bool,

    /// Do not wait
    #[arg(short, long, visible_alias = "nb", alias = "nonblocking")]
    pub nonblock: bool,

    /// Give up after TIME: 10, 500ms, 2m, 1h30m [default: wait forever]
    #[arg(short, long, alias = "timeout", value_name = "TIME", conflicts_with = "nonblock", value_parser = wait, allow_negative_numbers = true)]
    pub wait: Option<Timeout>,

    /// Use this exit code when the lock is not granted [default: 1; with --once 0]
    #[arg(short = 'E', long, value_name = "CODE", allow_negative_numbers = true)]
    pub conflict_exit_code: Option<u8>,

    /// Send SIGKILL this long after SIGTERM when the lock is lost [default: what fits, 9.5s as a rule]
    ///
    /// The command is dead before a server that has become unreachable grants the lock to another session. By default it
    /// has nearly two fifths of the time that the server waits for a silent client: 9.5s of 25s. A longer
    /// time is used too, and SIGTERM is then sent earlier. A time that does not fit is refused. In a cluster there is less
    /// time: 1.2s by default and at most, unless the servers have a longer --cluster-ttl or a --takeover-delay.
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

    /// Run at most once per WINDOW across all machines that use this lock
    ///
    /// After a success getlock exits at once, and the server keeps the lock until the window, counted from the grant, is
    /// over. Other runs do not wait, unless -w is given, and exit with 0, unless -E gives another code. After a failure the
    /// lock is released at once, and another run may try. If the server restarts without a store (--store of getlockd),
    /// the lock is free, and the command can run again in the same window. In a cluster, a change of
    /// the leader starts the window again: runs are skipped for up to WINDOW longer.
    #[arg(long, value_name = "WINDOW", conflicts_with_all = ["permits", "also"], value_parser = time, allow_negative_numbers = true)]
    pub once: Option<Duration>,

    /// Run the command each time the lock is taken, again and again: on one of many machines at a time
    ///
    /// When the command ends, getlock releases the lock and waits for it again, behind the others. When the lock is lost,
    /// getlock ends the command and waits for the lock again, also while the server is unreachable. A signal that ends
    /// the command ends getlock too, with the command's exit code; during a wait the code is 128+N. There is at least a second
    /// between two starts.
    #[arg(long, conflicts_with_all = ["shared", "nonblock", "wait", "once", "keep_running"])]
    pub lead: bool,

    /// Report each step on stderr
    #[arg(short, long)]
    pub verbose: bool,

    /// For flock's -o: the command never inherits the connection that holds the lock
    #[arg(short = 'o', long = "close", hide = true)]
    _close: bool,

    /// For flock's -F
    #[arg(short = 'F', long = "no-fork", hide = true)]
    _no_fork: bool,
}

impl RunArgs {
    pub(crate) fn timeout(&self) -> Timeout {
        match self.wait {
            Some(wait) => wait,
            None if self.nonblock || self.once.is_some() => Timeout::NONE,
            None => Timeout::Forever,
        }
    }

    /// The locks.
    pub(crate) fn names(&self) -> Vec<&str> {
        [&self.name].into_iter().chain(&self.also).map(String::as_str).collect()
    }

    /// The locks, for people.
    pub(crate) fn shown_names(&self) -> String {
        self.names().into_iter().map(written).collect::<Vec<_>>().join(", ")
    }

    /// The exit code when the lock is not granted.
    pub(crate) fn not_granted(&self) -> u8 {
        let usual = if self.once.is_some() { exit::OK } else { exit::NOT_GRANTED };
        self.conflict_exit_code.unwrap_or(usual)
    }
}

/// A time to wait. What is longer than a clock can hold is forever, as everywhere; -1 is more likely a mistake.
fn wait(text: &str) -> Result<Timeout, &'static str> {
    match text.parse() {
        Ok(wait) if !text.starts_with('-') => Ok(wait),
        _ => time(text).map(Timeout::Within),
    }
}

/// A time that ends: seconds, or with units.
fn time(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(Timeout::Within(time)) => Ok(time),
        _ => compound(text).ok_or("expected seconds (10, 0.5) or units (500ms, 2m, 1h30m)"),
    }
}

/// A time of several parts, each with its unit: `1h30m`.
fn compound(text: &str) -> Option<Duration> {
    let starts = text.char_indices().filter(|(at, c)| {
        c.is_ascii_digit()
            && text[..*at].chars().next_back().is_some_and(|before| before.is_ascii_alphabetic())
    });
    let starts = [0].into_iter().chain(starts.map(|(at, _)| at));
    let ends = starts.clone().skip(1).chain([text.len()]);
    starts.zip(ends).try_fold(Duration::ZERO, |sum, (start, end)| {
        let part = &text[start..end];
        let Ok(Timeout::Within(time)) = part.parse() else { return None };
        part.ends_with(|c: char| c.is_ascii_alphabetic()).then_some(sum.checked_add(time)?)
    })
}

fn session_id(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "expected a session ID: a number (see getlock sessions)")
}

impl Cli {
    /// What is said on the command line and in the environment.
    pub(crate) fn read(mut args: Vec<OsString>) -> Result<Self, clap::Error> {
        // What clap says by itself shows a flag with a variable as one that must be given.
        let mut command = ignore_empty(Self::command()).mut_subcommands(|task| {
            let usage = usage("getlock", &task);
            task.override_usage(usage)
        });
        let at = first_word(&command, &args);
        if let Some(hint) = args.get(at..).and_then(mistaken) {
            return Err(command.error(ErrorKind::InvalidSubcommand, hint));
        }
        if is_task(&command, args.get(at)) {
            let task = args[at].display();
            if let [dashes, word, ..] = &args[at + 1..]
                && args[at] != "run"
                && dashes == "--"
                && !word.as_encoded_bytes().starts_with(b"-")
            {
                let told = format!(
                    "{task} is a command of getlock itself; for a lock of that name: getlock run {task} -- COMMAND"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, told));
            }
            // Flags in front go behind its name, where clap looks for them: `--host x ls`.
            args[1..=at].rotate_right(1);
        }
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// What is wrong with words that other programs know and getlock does not.
fn mistaken(words: &[OsString]) -> Option<String> {
    let [first, rest @ ..] = words else { return None };
    let first = first.to_str()?;
    if matches!(first, "-u" | "--unlock") {
        return Some("a lock is released when its command ends: there is no -u".to_owned());
    }
    let instead = match first {
        "list" | "locks" | "show" => "getlock ls",
        "queue" => "getlock waiters NAME",
        "cluster" | "members" => "getlock nodes",
        "status" | "who" | "ps" => "getlock sessions, or getlock ls",
        "version" => "getlock --version",
        "ping" | "info" => "getlock ls; its exit code is 0 if the server answers",
        "monitor" => "getlock top, or getlock watch",
        "lock" | "acquire" | "take" | "try" => "getlock NAME -- COMMAND",
        "unlock" | "release" => "getlock kill SESSION, or end the command that holds the lock",
        _ => return None,
    };
    // `getlock list -- ls` names a lock, and so does `getlock list ls`; `getlock lock nightly` does not.
    let is_alone =
        rest.iter().all(|word| word.as_encoded_bytes().starts_with(b"-") && word != "--" && word != "-c");
    let names_a_lock = matches!(first, "lock" | "acquire" | "take" | "try" | "unlock" | "release")
        && matches!(rest, [word] if !word.as_encoded_bytes().starts_with(b"-"));
    (is_alone || names_a_lock).then(|| {
        format!(
            "there is no command {first}; use {instead} (for a lock of that name: getlock {first} -- COMMAND)"
        )
    })
}

/// Where the first word stands behind flags that may stand anywhere.
fn first_word(command: &clap::Command, args: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(taken) = args.get(at).and_then(|arg| words_of_global(command, arg)) {
        at += taken;
    }
    at
}

/// Whether it is one of our own commands, and no lock.
fn is_task(command: &clap::Command, word: Option<&OsString>) -> bool {
    word.is_some_and(|word| command.get_subcommands().any(|task| task.get_name() == word))
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
    fn words_of_other_programs_get_a_hint() {
        let refused = |line: &str| Cli::read(words(line)).unwrap_err().to_string();
        for (line, hint) in [
            ("getlock list", "getlock ls"),
            ("getlock --host x list --json", "getlock ls"),
            ("getlock status", "getlock sessions"),
            ("getlock version", "getlock --version"),
            ("getlock ping", "getlock ls; its exit code"),
            ("getlock lock nightly", "getlock NAME -- COMMAND"),
            ("getlock -u nightly", "there is no -u"),
            ("getlock kill abc", "expected a session ID"),
        ] {
            assert!(refused(line).contains(hint), "{line}: {}", refused(line));
        }
        assert_eq!(run("getlock lock -- nightly").0, "lock");
        assert_eq!(run("getlock list ls -l"), ("list".to_owned(), words("ls -l")));
    }

    #[test]
    fn flags_of_flock_are_taken() {
        for line in ["getlock -o nightly ls", "getlock -F -n nightly ls", "getlock -xo nightly ls"] {
            assert_eq!(run(line), ("nightly".to_owned(), words("ls")), "{line}");
        }
    }

    #[test]
    fn times_may_have_several_units() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!([seconds("10"), seconds("1h30m"), seconds("1m2s500ms")], [Ok(10.0), Ok(5400.0), Ok(62.5)]);
        for wrong in ["1h30", "h", "1h-30m", "1hh", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
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
