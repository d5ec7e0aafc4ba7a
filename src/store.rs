//! Where leases are kept: the engines behind [`crate::core::store::Store`].

mod file;
mod record;

pub(crate) use file::{FileStore, FoundStore, OpenError, OpenOptions, StoredFile, compact};
