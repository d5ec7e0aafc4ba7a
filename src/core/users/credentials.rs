//! A name and a password on their way from a client.

use std::fmt;

/// What a client says of itself to be let in. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it says it is.
    pub name: String,
    /// With what.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    /// Not the name either: people type the one where the other belongs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}
