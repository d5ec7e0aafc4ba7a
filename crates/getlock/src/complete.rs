//! Completion in shells: of flags and commands, and of the names of the locks that are held.
//!
//! The script that `getlock completions` prints asks this program, in the environment variable [`VARIABLE`], what may
//! stand where the cursor is.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh},
};
use getlockd_client::visible;
use getlockd_proto::environment::ignore_empty;
use tokio::{runtime::Builder, time::timeout};

use crate::args::{Cli, ServerArgs};

const VARIABLE: &str = "_GETLOCK_COMPLETE";
const SHELLS: Shells<'_> = Shells(&[&BashWithColons, &Elvish, &Fish, &Powershell, &AutoloadedZsh]);

/// A person waits for the names.
const WITHIN: Duration = Duration::from_secs(1);

/// Answers the script of a shell, if it is one that has started this program.
pub(crate) fn answer_shell() {
    let completion = CompleteEnv::with_factory(command).var(VARIABLE).shells(SHELLS);
    // A shell shows what fails in the middle of the line that is typed: nothing is better.
    match completion.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => {}
        Ok(true) | Err(_) => std::process::exit(0),
    }
}

/// The script for a shell.
pub(crate) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let mut script = Vec::new();
    if let Some(shell) = SHELLS.completer(&shell.to_string()) {
        shell.write_registration(VARIABLE, "getlock", "getlock", "getlock", &mut script)?;
    }
    Ok(script)
}

/// The command line, which completes locks with the names of those that are held.
fn command() -> clap::Command {
    let lock_names =
        ArgValueCompleter::new(|current: &OsStr| current.to_str().and_then(held_locks).unwrap_or_default());
    let complete = |command: clap::Command| {
        command.mut_args(|arg| match arg.get_id().as_str() {
            "name" | "also" | "prefix" => arg.add(lock_names.clone()),
            _ => arg,
        })
    };
    complete(ignore_empty(Cli::command())).mut_subcommands(complete)
}

fn held_locks(prefix: &str) -> Option<Vec<CompletionCandidate>> {
    let server = server()?;
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let list = async { server.connect().await.ok()?.locks(prefix).await.ok() };
    let locks = runtime.block_on(async { timeout(WITHIN, list).await });
    // Such as a resolver that does not answer.
    runtime.shutdown_background();
    let mut names: Vec<_> = locks.ok()??.rows.into_iter().map(|row| row.name).collect();
    names.dedup();
    names.retain(|name| visible(name) == *name);
    Some(names.into_iter().map(CompletionCandidate::new).collect())
}

/// The server that the unfinished command line names.
fn server() -> Option<ServerArgs> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let line = ignore_empty(Cli::command()).ignore_errors(true).try_get_matches_from(words).ok()?;
    let of_task = line.subcommand().and_then(|(_, task)| ServerArgs::from_arg_matches(task).ok());
    of_task.or_else(|| ServerArgs::from_arg_matches(&line).ok())
}

/// Bash breaks words at colons and equals signs, which names of locks contain. This puts such words together again,
/// and takes off the candidates what bash does not replace.
struct BashWithColons;

impl EnvCompleter for BashWithColons {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        write!(
            buf,
            r#"_{bin}() {{
    local line=${{COMP_LINE:0:COMP_POINT}} words=() word last=-1 IFS=$'\n' before at
    for word in "${{COMP_WORDS[@]:0:COMP_CWORD+1}}"; do
        if [[ $last -ge 0 && -n $word && $line != [[:space:]]* ]]; then
            words[last]+=$word
        else
            line=${{line#"${{line%%[![:space:]]*}}"}}
            words+=("$word")
            last=$((last + 1))
        fi
        line=${{line#"$word"}}
    done
    before=${{words[last]%"$2"}}
    COMPREPLY=($(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$last {var}=bash {completer} -- "${{words[@]}}" 2>/dev/null))
    for at in "${{!COMPREPLY[@]}}"; do
        word=${{COMPREPLY[at]#"$before"}}
        [[ $word == *[[:space:]\'\"\\\$\&\;\|\<\>\(\)]* ]] && printf -v word %q "$word"
        COMPREPLY[at]=$word
    done
    [[ ${{#COMPREPLY[@]}} -eq 1 && $COMPREPLY == */ ]] && compopt -o nospace
}}
complete -o bashdefault -F _{bin} {bin}
"#
        )
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        Bash.write_complete(cmd, args, current_dir, buf)
    }
}

/// A script that also works as the file `_getlock` in the `fpath` of zsh, which is run at the first completion.
struct AutoloadedZsh;

impl EnvCompleter for AutoloadedZsh {
    fn name(&self) -> &'static str {
        Zsh.name()
    }

    fn is(&self, name: &str) -> bool {
        Zsh.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        Zsh.write_registration(var, name, bin, completer, buf)?;
        writeln!(buf, "if [[ ${{funcstack[1]}} == _{bin} ]]; then _clap_dynamic_completer_{name} \"$@\"; fi")
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn io::Write,
    ) -> io::Result<()> {
        Zsh.write_complete(cmd, args, current_dir, buf)
    }
}
