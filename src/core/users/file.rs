//! The users file: TOML with one table per user. Reading it, and making entries for it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use getlockd_proto::name::NameError;
use serde::{Deserialize, Serialize};

use super::{
    NameScope, Prefix, User,
    verifier::{self, Verifiers},
};
use crate::name::Name;

/// The most users in a file.
pub const MAX_USERS: usize = 10_000;

/// The largest file, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Why the users file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the users file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
    /// The file is too large, or has too many users.
    #[error("{} is too large: at most {MAX_FILE} bytes and {MAX_USERS} users are possible", .0.display())]
    TooLarge(PathBuf),
    /// The file has no users, and would lock everybody out.
    #[error("{} contains no users; add one with `getlockd user NAME >> {}`", .0.display(), .0.display())]
    Nobody(PathBuf),
    /// The file is malformed.
    #[error("{}:{line}: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The message of the parser.
        what: String,
    },
    /// An entry is invalid.
    #[error("{}: user {user}: {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The user of the entry.
        user: String,
        /// What is wrong with it.
        what: EntryFault,
    },
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryFault {
    /// The entry has neither a password nor a token.
    #[error("password-sha256 or token-sha256 is missing; `getlockd user NAME` prints an entry")]
    NoSecret,
    /// A verifier is malformed.
    #[error("{0} must be {1} hexadecimal digits; `getlockd user NAME` prints an entry")]
    Digits(&'static str, usize),
    /// No name can have this prefix.
    #[error("{0:?} is not a prefix of lock names: {1}")]
    Prefix(String, NameError),
    /// The prefix contains a `*`; names are not matched by patterns.
    #[error(
        "{0:?}: remove the *, since a prefix matches all names that start with it; \"*\" alone matches all names"
    )]
    Star(String),
    /// A client could not send the user's name.
    #[error("a user's name must have 1 to 64 characters, without control characters and colons")]
    Name,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    pub user: BTreeMap<String, UserEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UserEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
    #[serde(default)]
    pub lock: Vec<String>,
    #[serde(default)]
    pub see: Vec<String>,
    #[serde(default)]
    pub kill: bool,
}

/// All users of a file, each of this generation.
pub(super) fn read(path: &Path, generation: u64) -> Result<Vec<User>, FileError> {
    let unreadable = |error| FileError::Unreadable { path: path.to_owned(), error };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let UsersFile { user: entries } = toml::from_str(&text).map_err(|error| wrong(path, &text, &error))?;
    match entries.len() {
        0 => return Err(FileError::Nobody(path.to_owned())),
        count if count > MAX_USERS => return Err(FileError::TooLarge(path.to_owned())),
        _ => {}
    }
    let user = |(name, entry): (String, UserEntry)| {
        user(&name, entry, generation).map_err(|what| FileError::Entry {
            path: path.to_owned(),
            user: name,
            what,
        })
    };
    entries.into_iter().map(user).collect()
}

/// Only the first line of the message: the rest quotes the file, verifiers included.
fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    FileError::Wrong { path: path.to_owned(), line, what: without_value(error.message()).replace('\n', "; ") }
}

/// A value of the wrong type may be a password in the wrong place, and this goes to the log.
fn without_value(message: &str) -> &str {
    let expected = message.find("expected ").filter(|_| message.starts_with("invalid type: "));
    expected.map_or(message, |at| &message[at..])
}

fn user(name: &str, entry: UserEntry, generation: u64) -> Result<User, EntryFault> {
    if !is_name(name) {
        return Err(EntryFault::Name);
    }
    let verifiers = Verifiers {
        password: digits("password-sha256", entry.password_sha256)?,
        native: digits("password-sha1", entry.password_sha1)?,
        token: digits("token-sha256", entry.token_sha256)?,
    };
    if verifiers.password.is_none() && verifiers.token.is_none() {
        return Err(EntryFault::NoSecret);
    }
    let (lock, see, kill) = (scope(entry.lock)?, scope(entry.see)?, entry.kill);
    Ok(User { name: name.into(), verifiers, lock, see, kill, generation })
}

/// Basic authentication ends a user name at its colon.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.contains(|c: char| c.is_control() || c == ':')
}

fn digits<const N: usize>(key: &'static str, text: Option<String>) -> Result<Option<[u8; N]>, EntryFault> {
    let Some(text) = text else { return Ok(None) };
    let mut bytes = [0; N];
    let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let is_hex = text.len() == 2 * N && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    for (at, place) in bytes.iter_mut().enumerate() {
        *place = byte(at).filter(|_| is_hex).ok_or(EntryFault::Digits(key, 2 * N))?;
    }
    Ok(Some(bytes))
}

fn scope(prefixes: Vec<String>) -> Result<NameScope, EntryFault> {
    prefixes.into_iter().map(prefix).collect::<Result<_, _>>().map(NameScope)
}

fn prefix(text: String) -> Result<Prefix, EntryFault> {
    match Name::prefix(&text) {
        _ if text == "*" => Ok(Prefix::Any),
        Ok(_) if text.contains('*') => Err(EntryFault::Star(text)),
        Ok(name) => Ok(Prefix::Of(name)),
        Err(error) => Err(EntryFault::Prefix(text, error)),
    }
}

/// The rights of a new user.
#[derive(Debug, Default)]
pub struct NewEntry {
    /// Their name.
    pub name: String,
    /// Prefixes of locks that they may take.
    pub lock: Vec<String>,
    /// Prefixes of further locks that they may see.
    pub see: Vec<String>,
    /// Whether they may end sessions of others.
    pub kill: bool,
    /// Whether `mysql_native_password` is supported.
    pub native: bool,
}

/// Why no entry can be made.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The server would not accept the entry.
    #[error(transparent)]
    Wrong(#[from] EntryFault),
    /// The password is empty.
    #[error("the password is empty; type one, or use --token for a random token")]
    Empty,
}

/// Makes an entry for the file, which contains only verifiers of the secret.
///
/// # Errors
/// [`EntryError`]
pub fn entry(wanted: &NewEntry, secret: &[u8], is_token: bool) -> Result<String, EntryError> {
    if secret.is_empty() {
        return Err(EntryError::Empty);
    }
    if !is_name(&wanted.name) {
        return Err(EntryFault::Name.into());
    }
    for text in wanted.lock.iter().chain(&wanted.see) {
        prefix(text.clone())?;
    }
    let NewEntry { name, lock, see, kill, native } = wanted;
    let of_password = |verifier: fn(&[u8]) -> String| (!is_token).then(|| verifier(secret));
    let entry = UserEntry {
        password_sha256: of_password(|secret| hex(&verifier::sha2_of(secret))),
        password_sha1: of_password(|secret| hex(&verifier::native_of(secret))).filter(|_| *native),
        token_sha256: is_token.then(|| hex(&verifier::token_digest(secret))),
        lock: lock.clone(),
        see: see.clone(),
        kill: *kill,
    };
    let file = UsersFile { user: BTreeMap::from([(name.clone(), entry)]) };
    toml::to_string(&file).map_err(|_| EntryFault::Name.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
