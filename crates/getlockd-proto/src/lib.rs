//! What a getlockd server and its clients both know: the rules and words of `protocol.md`, without a socket of their
//! own and without a runtime.
//!
//! - [`name`]: what may be the name of a lock, and which names are the same;
//! - [`timeout`]: how long a request may wait;
//! - [`escape`]: how names and texts are written and read;
//! - [`symbol`]: the words that stand for errors;
//! - [`keepalive`]: how a vanished peer is detected, and what is promised until then;
//! - [`pem`]: what is often wrong with certificates and keys.
//!
//! With the feature `programs`, which is for `getlockd` and `getlock`, also [`moment`], [`environment`] and
//! [`manual`].

#[cfg(feature = "programs")]
pub mod environment;
pub mod escape;
pub mod keepalive;
#[cfg(feature = "programs")]
pub mod manual;
#[cfg(feature = "programs")]
pub mod moment;
pub mod name;
pub mod pem;
pub mod symbol;
pub mod timeout;

/// The default port of the line protocol.
pub const DEFAULT_PORT: u16 = 3305;
