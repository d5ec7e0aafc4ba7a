//! The file of a server that is stopped: what it has, and making it small again.
//!
//! A file is read into memory and opened there: what redb repairs after a crash, it repairs in the copy. The next start
//! finds the file as the crash left it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    time::Duration,
};

use redb::{
    StorageBackend,
    backends::{FileBackend, InMemoryBackend},
};

use super::{OpenError, beside, builder, cannot_open, check_start, into_io, place};
use crate::core::store::{DurableLease, Floors};

/// What the file of a stopped server has.
#[derive(Debug)]
pub(crate) struct StoredFile {
    /// The version of its format.
    pub format: u32,
    /// Its size.
    pub bytes: u64,
    /// The last server stopped in good order, and all its leases were written.
    pub is_clean: bool,
    /// For how long the next start grants nothing.
    pub grace: Duration,
    /// Where numbers go on.
    pub floors: Floors,
    /// The leases in it, by name.
    pub leases: Vec<DurableLease>,
}

impl StoredFile {
    /// Reads a file, which no server may use meanwhile. The file is not changed.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) fn read(path: &Path) -> Result<Self, OpenError> {
        let path = found(path)?;
        let _lock = lock(&path, File::try_lock_shared)?;
        Self::of(&path)
    }

    fn of(path: &Path) -> Result<Self, OpenError> {
        let mut file = File::open(path).map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
        Self::copied(&mut file, path)
    }

    /// Of a copy in memory: redb repairs a file that a crash has left when it opens it.
    pub(super) fn copied(file: &mut File, path: &Path) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        check_start(file, path)?;
        file.rewind().map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes)).map_err(io)?;
        let database = builder().create_with_backend(copy).map_err(|error| cannot_open(path, error))?;
        let (meta, mut leases) = super::read(&database, path)?;
        leases.sort_by(|one, other| (one.names.first(), one.token).cmp(&(other.names.first(), other.token)));
        Ok(Self {
            format: meta.format,
            bytes: bytes.len() as u64,
            is_clean: meta.grace_ms == 0 && !meta.is_open,
            grace: Duration::from_millis(meta.grace_ms),
            floors: meta.floors(),
            leases,
        })
    }
}

/// Makes the file of a stopped server as small as what it has: how many bytes it had before, and has now. A crash
/// meanwhile leaves a file that a server can use. The owner of the file stays.
///
/// # Errors
/// [`OpenError`]
pub(crate) fn compact(path: &Path) -> Result<(u64, u64), OpenError> {
    let path = &found(path)?;
    let _lock = lock(path, File::try_lock)?;
    // Nothing is done to a file that is none of this version.
    let before = StoredFile::of(path)?.bytes;
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let backend = FileBackend::new(file).map_err(|error| cannot_open(path, error))?;
    let mut database = builder().create_with_backend(backend).map_err(|error| cannot_open(path, error))?;
    database.compact().map_err(|error| io(into_io(error.into())))?;
    database.close().map_err(|error| io(into_io(error.into())))?;
    Ok((before, fs::metadata(path).map_err(io)?.len()))
}

/// Where the file is in truth: the lock is beside it, and not beside a link to it.
fn found(path: &Path) -> Result<PathBuf, OpenError> {
    let (found, is_there) = place(path, true)?;
    if is_there { Ok(found) } else { Err(OpenError::Missing(path.to_owned())) }
}

/// The lock that a server holds while it uses the file. A file without one, such as a backup, has no server.
fn lock(path: &Path, take: fn(&File) -> Result<(), fs::TryLockError>) -> Result<Option<File>, OpenError> {
    let at = beside(path, "lock");
    let io = |error| OpenError::Io { path: at.clone(), error };
    let file = match File::open(&at) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    match take(&file) {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        file::{MakeDatabase, create},
        record::{FORMAT, Meta},
    };

    #[test]
    fn newer_format_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let make: MakeDatabase = Arc::new(|file| builder().create_with_backend(FileBackend::new(file)?));
        drop(create(&path, &make, &Meta { format: FORMAT + 1, ..Meta::default() }, &[]).unwrap());
        let before = fs::read(&path).unwrap();
        for refused in [StoredFile::read(&path).map(drop), compact(&path).map(drop)] {
            assert!(matches!(refused, Err(OpenError::Newer { format, .. }) if format == FORMAT + 1));
        }
        assert!(fs::read(&path).unwrap() == before);
    }

    #[test]
    fn file_cut_anywhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let make: MakeDatabase = Arc::new(|file| builder().create_with_backend(FileBackend::new(file)?));
        drop(create(&path, &make, &Meta { format: FORMAT, ..Meta::default() }, &[]).unwrap());
        let whole = fs::read(&path).unwrap();
        for end in [0, 3, 4, 64, 320, 4096, whole.len() / 2] {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(matches!(StoredFile::read(&path), Err(OpenError::Foreign { .. })), "{end}");
        }
    }
}
