//! Variables of the environment that stand for flags.

use clap::{Arg, Command, builder::Resettable};

/// Ignores empty variables: an empty value is how systemd unit files and similar files unset a variable.
pub fn ignore_empty(command: Command) -> Command {
    command.mut_args(ignore_if_empty).mut_subcommands(|task| task.mut_args(ignore_if_empty))
}

fn ignore_if_empty(arg: Arg) -> Arg {
    let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    if is_empty { arg.env(Resettable::Reset) } else { arg }
}
