//! Why a store cannot be opened, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use redb::DatabaseError;

use crate::store::record::FORMAT;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another getlockd; stop that one, or give this one another file", .0.display())]
    InUse(PathBuf),
    #[error("{} is not a lease store of getlockd, or is damaged ({reason}); move it away, or restore a backup", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error(
        "{} was written by a newer getlockd (format {format}; this one reads up to {FORMAT}); run that version",
        path.display()
    )]
    Newer { path: PathBuf, format: u32 },
    #[error(
        "{} is on {kind}, which may lose it or not lock it; use a local disk, or --store-anyway", path.display()
    )]
    FileSystem { path: PathBuf, kind: &'static str },
    #[error("{} is not a regular file; name a file for --store", .0.display())]
    NotAFile(PathBuf),
    #[error("there is no lease store {}; check the path", .0.display())]
    Missing(PathBuf),
    #[error("cannot keep a lease store in {}: {error}{}", path.display(), remedy(error))]
    Folder { path: PathBuf, error: io::Error },
    #[error("cannot open the lease store {}: {error}{}", path.display(), remedy(error))]
    Io { path: PathBuf, error: io::Error },
}

/// What to do about an error of the system, where that is known.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; make it first",
        io::ErrorKind::PermissionDenied => "; let the user of getlockd write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room on that disk",
        io::ErrorKind::ReadOnlyFilesystem => "; mount that disk for writing",
        _ => "",
    }
}

/// What redb says of a file, as one who starts a server is to read it.
pub(super) fn cannot_open(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::Storage(redb::StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
            ) =>
        {
            OpenError::Io { path, error }
        }
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path),
        other => OpenError::Foreign { path, reason: other.to_string() },
    }
}
