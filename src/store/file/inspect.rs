//! The file of a server that is stopped: what it has, and making it small again.
//!
//! A file is read into memory and opened there: what redb repairs after a crash, it repairs in the copy. The next start
//! finds the file as the crash left it.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    rc::Rc,
    time::Duration,
};

use redb::{
    Database, DatabaseError, StorageBackend,
    backends::{FileBackend, InMemoryBackend},
};

use super::{CACHE, OpenError, beside, into_io, read_leases, read_meta};
use crate::{
    core::store::{DurableLease, Floors},
    store::record::FORMAT,
};

/// How each file of redb starts.
const MAGIC: &[u8; 4] = b"redb";

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
        let _lock = lock(path, File::try_lock_shared)?;
        Self::read_locked(path)
    }

    fn read_locked(path: &Path) -> Result<Self, OpenError> {
        let foreign = |reason: String| OpenError::Foreign { path: path.to_owned(), reason };
        let bytes = bytes_of(path).map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
        let bytes = bytes.ok_or_else(|| foreign("it does not start as one".to_owned()))?;
        let copy = InMemoryBackend::new();
        let copied = copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes));
        copied.map_err(|error| foreign(error.to_string()))?;
        let is_repaired = Rc::new(Cell::new(false));
        let repaired = is_repaired.clone();
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).set_repair_callback(move |_| repaired.set(true));
        let database = builder.create_with_backend(copy).map_err(|error| foreign(error.to_string()))?;
        let meta = read_meta(&database).map_err(|error| foreign(error.to_string()))?;
        if meta.format > FORMAT {
            return Err(OpenError::Newer { path: path.to_owned(), format: meta.format });
        }
        let mut leases = read_leases(&database).map_err(|error| foreign(error.to_string()))?;
        leases.sort_by(|one, other| (&one.name, one.token).cmp(&(&other.name, other.token)));
        Ok(Self {
            format: meta.format,
            bytes: bytes.len() as u64,
            is_clean: meta.grace_ms == 0 && !is_repaired.get(),
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
    let _lock = lock(path, File::try_lock)?;
    // Nothing is done to a file that is none of this version.
    let before = StoredFile::read_locked(path)?.bytes;
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let opened = FileBackend::new(file)
        .and_then(|file| Database::builder().set_cache_size(CACHE).create_with_backend(file));
    let mut database = opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
        other => io(into_io(other.into())),
    })?;
    database.compact().map_err(|error| io(into_io(error.into())))?;
    database.close().map_err(|error| io(into_io(error.into())))?;
    Ok((before, fs::metadata(path).map_err(io)?.len()))
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

/// What stands in a file; none if it is no file of redb, however long it may be.
fn bytes_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        file::{MakeDatabase, create},
        record::Meta,
    };

    #[test]
    fn newer_format_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let make: MakeDatabase =
            Arc::new(|file| Database::builder().create_with_backend(FileBackend::new(file)?));
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
        let make: MakeDatabase =
            Arc::new(|file| Database::builder().create_with_backend(FileBackend::new(file)?));
        drop(create(&path, &make, &Meta { format: FORMAT, ..Meta::default() }, &[]).unwrap());
        let whole = fs::read(&path).unwrap();
        for end in [0, 3, 4, 64, 320, 4096, whole.len() / 2] {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(matches!(StoredFile::read(&path), Err(OpenError::Foreign { .. })), "{end}");
        }
    }
}
