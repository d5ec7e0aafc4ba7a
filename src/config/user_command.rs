//! `getlockd user`: an entry for the file of users, from a password or with a new token.

use std::io::{self, IsTerminal, Write};

use crate::{
    config::NewUser,
    core::{
        lease::Secret,
        users::{EntryError, NewEntry, entry},
    },
};

/// Why `getlockd user` failed.
#[derive(Debug, thiserror::Error)]
pub enum UserCommandError {
    /// The server would not accept the entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The two passwords that were typed differ.
    #[error("the passwords do not match; type the same one twice")]
    Mismatch,
    /// The password could not be read, or the entry could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The system gave no random bytes.
    #[error("the operating system provides no random bytes; try again later")]
    NoRandom,
}

/// Prints the entry to stdout. A new token goes to stderr; it is not shown again.
///
/// # Errors
/// [`UserCommandError`]
pub fn print_entry(new: NewUser) -> Result<(), UserCommandError> {
    let NewUser { name, lock, see, kill, token, no_native } = new;
    let wanted = NewEntry { name, lock, see, kill, native: !no_native };
    let secret = if token { new_token()? } else { password()? };
    let text = entry(&wanted, secret.as_bytes(), token)?;
    if token {
        writeln!(io::stderr(), "token (shown only once): {secret}")?;
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// A random token of 256 bits.
fn new_token() -> Result<String, UserCommandError> {
    let half = || Secret::random().map_err(|_| UserCommandError::NoRandom);
    Ok(format!("{}{}", half()?.reveal(), half()?.reveal()))
}

/// Reads the password: on a terminal twice, since it is not echoed, otherwise one line of standard input.
fn password() -> Result<String, UserCommandError> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let [first, second] = ["Password: ", "Repeat password: "].map(rpassword::prompt_password);
    let first = first?;
    if first == second? { Ok(first) } else { Err(UserCommandError::Mismatch) }
}
