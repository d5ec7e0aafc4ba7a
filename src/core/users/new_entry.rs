//! Making an entry for the file of users.

use std::collections::BTreeMap;

use super::{
    file::{self, Entry, EntryFault, File},
    verifier,
};

/// What a new user may do.
#[derive(Debug, Default)]
pub struct NewEntry {
    /// What he is called.
    pub name: String,
    /// Prefixes of what he may lock.
    pub lock: Vec<String>,
    /// Prefixes of what he may see beside it.
    pub see: Vec<String>,
    /// Whether he may end sessions of others.
    pub kill: bool,
    /// Whether `mysql_native_password` is to work.
    pub native: bool,
}

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// It would not be understood.
    #[error(transparent)]
    Wrong(#[from] EntryFault),
    /// An empty password.
    #[error("an empty password protects nothing; say one, or --token for a random token")]
    Empty,
}

/// An entry as the file takes it, with verifiers of the secret alone.
///
/// # Errors
/// [`EntryError`]
pub fn entry(wanted: &NewEntry, secret: &[u8], is_token: bool) -> Result<String, EntryError> {
    if secret.is_empty() {
        return Err(EntryError::Empty);
    }
    if !file::is_name(&wanted.name) {
        return Err(EntryFault::Name.into());
    }
    for text in wanted.lock.iter().chain(&wanted.see) {
        file::prefix(text.clone())?;
    }
    let NewEntry { name, lock, see, kill, native } = wanted;
    let of_password = |verifier: fn(&[u8]) -> String| (!is_token).then(|| verifier(secret));
    let entry = Entry {
        password_sha256: of_password(|secret| hex(&verifier::sha2_of(secret))),
        password_sha1: of_password(|secret| hex(&verifier::native_of(secret))).filter(|_| *native),
        token_sha256: is_token.then(|| hex(&verifier::token_digest(secret))),
        lock: lock.clone(),
        see: see.clone(),
        kill: *kill,
    };
    let file = File { user: BTreeMap::from([(name.clone(), entry)]) };
    toml::to_string(&file).map_err(|_| EntryFault::Name.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
