//! `getlockd user`: an entry for the file of users, from a password or with a new token.

use std::io::{self, IsTerminal, Write};

use crate::{
    config::NewUser,
    core::{
        lease::Secret,
        users::{EntryError, NewEntry, entry},
    },
};

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub enum UserCommandError {
    /// It would not be understood.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The password was typed in two ways.
    #[error("these are two passwords; type the same one twice")]
    TwoPasswords,
    /// It could not be read, or the entry not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system gave no random bytes.
    #[error("the operating system provides no random bytes; try again later")]
    NoRandom,
}

/// Prints the entry; a new token goes to stderr, this once.
///
/// # Errors
/// [`UserCommandError`]
pub fn print_entry(new: NewUser) -> Result<(), UserCommandError> {
    let NewUser { name, lock, see, kill, token, no_native } = new;
    let wanted = NewEntry { name, lock, see, kill, native: !no_native };
    let secret = if token { new_token()? } else { password()? };
    let text = entry(&wanted, secret.as_bytes(), token)?;
    if token {
        writeln!(io::stderr(), "the token, which is told only now: {secret}")?;
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// 256 bits.
fn new_token() -> Result<String, UserCommandError> {
    let half = || Secret::random().map_err(|_| UserCommandError::NoRandom);
    Ok(format!("{}{}", half()?.reveal(), half()?.reveal()))
}

/// From a terminal it is asked for twice, as nobody sees what is typed.
fn password() -> Result<String, UserCommandError> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let [first, second] = ["password: ", "again: "].map(rpassword::prompt_password);
    let first = first?;
    if first == second? { Ok(first) } else { Err(UserCommandError::TwoPasswords) }
}
