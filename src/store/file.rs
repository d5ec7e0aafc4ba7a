//! Leases in one file, by redb.
//!
//! Memory is the truth: after an error of the disk nothing in the file is trusted, and everything is written to a new
//! file, which then takes the place of the old one. A lock on a file beside it says whose the store is, throughout.

mod inspect;

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use prost::Message;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
    backends::FileBackend,
};
use tokio::task::spawn_blocking;

use super::record::{self, BadRecord, FORMAT, Meta, millis};
use crate::core::{
    lease::Secret,
    store::{Batch, CommitError, DurableLease, Floors, LeaseChange, Store, StoredState},
    sync::{Rank, plain::Guarded},
};

pub(crate) use inspect::{StoredFile, compact};

const LEASES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("leases");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const META_KEY: &str = "meta";

/// redb keeps pages in memory; the leases are in memory anyway.
const CACHE: usize = 1024 * 1024;

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenOptions {
    /// The file.
    pub path: PathBuf,
    /// The leases that run for no longer are not written.
    pub grace: Duration,
    /// Whether a file system may hold it that forgets, or has no locks to rely on.
    pub anyway: bool,
}

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
    #[error("cannot open {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// A store in a file.
pub(crate) struct FileStore {
    file: Arc<StoreFile>,
}

struct StoreFile {
    path: PathBuf,
    grace: Duration,
    request_key: Secret,
    /// None once it failed, up to the next replacement.
    database: Guarded<Option<Database>>,
    make: MakeDatabase,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Makes a database of a file, which may be new.
type MakeDatabase = Arc<dyn Fn(File) -> Result<Database, DatabaseError> + Send + Sync>;

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileStore").field(&self.file.path).finish()
    }
}

impl FileStore {
    /// Opens the store, or makes a new one; what it has. `first` says where numbers go on that were last promised to be
    /// below these.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) fn open(
        options: OpenOptions,
        first: impl FnOnce(Floors) -> Floors,
    ) -> Result<(Self, StoredState), OpenError> {
        let make =
            |file| Database::builder().set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?);
        Self::open_with(options, first, Arc::new(make))
    }

    fn open_with(
        options: OpenOptions,
        first: impl FnOnce(Floors) -> Floors,
        make: MakeDatabase,
    ) -> Result<(Self, StoredState), OpenError> {
        let OpenOptions { path, grace, anyway } = options;
        let io = |error| OpenError::Io { path: path.clone(), error };
        let folder = folder_of(&path);
        if !anyway && let Some(kind) = file_system::unfit(folder).map_err(io)? {
            return Err(OpenError::FileSystem { path, kind });
        }
        let lock = lock(&beside(&path, "lock"), &path)?;
        if !path.try_exists().map_err(io)? {
            // Made whole before it has its name: no half file is ever found.
            let request_key =
                Secret::random().map_err(|_| io(io::Error::other("the system has no random bytes")))?;
            let meta =
                Meta { format: FORMAT, request_key: request_key.reveal().to_owned(), ..Meta::default() };
            create(&path, &make, &meta, &[]).map_err(io)?;
        }
        let file = File::options().read(true).write(true).open(&path).map_err(io)?;
        let foreign = |reason: String| OpenError::Foreign { path: path.clone(), reason };
        let database = make(file).map_err(|error| match error {
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() != io::ErrorKind::InvalidData =>
            {
                io(error)
            }
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.clone()),
            other => foreign(other.to_string()),
        })?;
        let mut meta = read_meta(&database).map_err(|error| foreign(error.to_string()))?;
        if meta.format > FORMAT {
            return Err(OpenError::Newer { path, format: meta.format });
        }
        let leases = read_leases(&database).map_err(|error| foreign(error.to_string()))?;
        let floors = first(meta.floors());
        let (ceiling, grace_left) = (floors.ahead(), Duration::from_millis(meta.grace_ms));
        let request_key: Secret =
            meta.request_key.parse().map_err(|_| foreign("it has no key".to_owned()))?;
        let state =
            StoredState { leases, floors, ceiling, request_key: request_key.clone(), grace: grace_left };
        meta.set_floors(ceiling);
        // A crash from now on leaves leases that were not written, those of the last run included.
        meta.grace_ms = meta.grace_ms.max(millis(grace));
        write_meta(&database, &meta).map_err(|error| io(into_io(error)))?;
        let database = Guarded::new(Rank::StoreFile, Some(database));
        let file = Arc::new(StoreFile { path, grace, request_key, database, make, _lock: lock });
        Ok((Self { file }, state))
    }

    fn blocking(
        &self,
        work: impl FnOnce(&StoreFile) -> Result<(), redb::Error> + Send + 'static,
    ) -> BoxFuture<'_, Result<(), CommitError>> {
        let file = self.file.clone();
        async move {
            let done = spawn_blocking(move || work(&file)).await.map_err(io::Error::other);
            done.map_err(CommitError::Unknown)?.map_err(|error| CommitError::Unknown(into_io(error)))
        }
        .boxed()
    }
}

impl Store for FileStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        self.blocking(move |file| file.commit(&batch))
    }

    fn replace(&self, leases: Vec<DurableLease>, floors: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
        self.blocking(move |file| file.replace(&leases, floors))
    }

    fn close(&self, last: Floors, is_quiet: bool) -> BoxFuture<'_, Result<(), CommitError>> {
        self.blocking(move |file| file.close(last, is_quiet))
    }

    fn bytes(&self) -> Option<u64> {
        fs::metadata(&self.file.path).ok().map(|file| file.len())
    }
}

impl StoreFile {
    fn commit(&self, batch: &Batch) -> Result<(), redb::Error> {
        let mut database = self.database.lock();
        let written = database.as_ref().ok_or(closed()).and_then(|database| write_batch(database, batch));
        if written.is_err() {
            // redb refuses everything after an error, and the system may have lost what it was to write.
            database.take();
        }
        written
    }

    fn replace(&self, leases: &[DurableLease], floors: Floors) -> Result<(), redb::Error> {
        let mut database = self.database.lock();
        database.take();
        let request_key = self.request_key.reveal().to_owned();
        let mut meta = Meta { format: FORMAT, grace_ms: millis(self.grace), request_key, ..Meta::default() };
        meta.set_floors(floors);
        *database = Some(create(&self.path, &self.make, &meta, leases).map_err(redb::Error::Io)?);
        Ok(())
    }

    fn close(&self, last: Floors, is_quiet: bool) -> Result<(), redb::Error> {
        let Some(database) = self.database.lock().take() else { return Err(closed()) };
        let mut meta = read_meta(&database)?;
        // The next ones: tokens are above the last, and session ids behind it.
        meta.set_floors(Floors { token: last.token + 1, session: last.session });
        meta.grace_ms = if is_quiet { 0 } else { millis(self.grace) };
        write_meta(&database, &meta)
    }
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

fn write_batch(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut leases = transaction.open_table(LEASES)?;
        for (key, change) in &batch.changes {
            match change {
                LeaseChange::Put(lease) => drop(leases.insert(key.bytes(), &*record::encode(lease))?),
                LeaseChange::Delete => drop(leases.remove(key.bytes())?),
            }
        }
    }
    if let Some(floors) = batch.floors {
        let mut meta = meta_in(&transaction)?;
        meta.set_floors(floors);
        put_meta(&transaction, &meta)?;
    }
    transaction.commit()?;
    Ok(())
}

fn meta_in(transaction: &WriteTransaction) -> Result<Meta, redb::Error> {
    let table = transaction.open_table(META)?;
    let bytes = table.get(META_KEY)?;
    decode_meta(bytes.as_ref().map(redb::AccessGuard::value))
}

fn put_meta(transaction: &WriteTransaction, meta: &Meta) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(META_KEY, &*meta.encode_to_vec())?;
    Ok(())
}

fn write_meta(database: &Database, meta: &Meta) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    put_meta(&transaction, meta)?;
    transaction.commit()?;
    Ok(())
}

fn decode_meta(bytes: Option<&[u8]>) -> Result<Meta, redb::Error> {
    let meta = bytes.and_then(|bytes| Meta::decode(bytes).ok()).filter(|meta| meta.format > 0);
    meta.ok_or_else(|| redb::Error::Corrupted("it does not say its format".to_owned()))
}

fn read_meta(database: &Database) -> Result<Meta, redb::Error> {
    let table = match database.begin_read()?.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return decode_meta(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = table.get(META_KEY)?;
    decode_meta(bytes.as_ref().map(redb::AccessGuard::value))
}

fn read_leases(database: &Database) -> Result<Vec<DurableLease>, redb::Error> {
    let table = match database.begin_read()?.open_table(LEASES) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let damaged = |error: BadRecord| redb::Error::Corrupted(error.to_string());
    let rows = table.iter()?.map(|row| {
        let (key, bytes) = row?;
        record::decode(*key.value(), bytes.value()).map_err(damaged)
    });
    rows.collect()
}

/// Writes a new file beside the old one, and gives it its name.
fn create(path: &Path, make: &MakeDatabase, meta: &Meta, leases: &[DurableLease]) -> io::Result<Database> {
    let new = beside(path, "new");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    // It has a key, and says what clients say of themselves.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&new)?;
    let database = make(file.try_clone()?).map_err(|error| into_io(error.into()))?;
    let write = || {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(LEASES)?;
            for lease in leases {
                table.insert(lease.key.bytes(), &*record::encode(lease))?;
            }
        }
        put_meta(&transaction, meta)?;
        transaction.commit()?;
        Ok(())
    };
    write().map_err(into_io)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder_of(path))?.sync_all()?;
    Ok(database)
}

fn lock(at: &Path, path: &Path) -> Result<File, OpenError> {
    let io = |error| OpenError::Io { path: at.to_owned(), error };
    let file = File::options().read(true).write(true).create(true).truncate(false).open(at).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Which file systems keep what they are given.
#[cfg(target_os = "linux")]
mod file_system {
    use std::{io, path::Path};

    use rustix::fs::statfs;

    /// From the kernel's magic.h.
    const UNFIT: [(u32, &str); 9] = [
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x794c_7630, "overlayfs"),
        (0x0000_6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0000_517b, "SMB"),
        (0x0102_1997, "9p"),
        (0x6573_5546, "FUSE"),
    ];

    /// The kind of the file system of a folder, if it may forget a file or cannot lock it.
    pub(super) fn unfit(folder: &Path) -> io::Result<Option<&'static str>> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the numbers have 32 bits"
        )]
        let kind = statfs(folder)?.f_type as u32;
        Ok(UNFIT.into_iter().find(|(number, _)| *number == kind).map(|(_, name)| name))
    }
}

/// Which file systems keep what they are given is known on Linux alone.
#[cfg(not(target_os = "linux"))]
mod file_system {
    use std::{io, path::Path};

    pub(super) fn unfit(_: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
