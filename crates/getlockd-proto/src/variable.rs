//! What the environment says.

use clap::{Arg, Command, builder::Resettable};

/// A variable that is empty is as good as none: that is how one is taken back in files of systemd and the like.
pub fn but_empty(command: Command) -> Command {
    command.mut_args(unless_empty).mut_subcommands(|task| task.mut_args(unless_empty))
}

fn unless_empty(arg: Arg) -> Arg {
    let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { arg.env(Resettable::Reset) } else { arg }
}
