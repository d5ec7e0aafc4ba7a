//! Leases in one file, by redb.
//!
//! Memory is the truth: after an error of the disk nothing in the file is trusted, and everything is written to a new
//! file, which then takes the place of the old one. A lock on a file beside it says whose the store is, throughout.

mod error;
mod inspect;
mod place;

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use prost::Message;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction, backends::FileBackend,
};
use tokio::task::spawn_blocking;

pub use error::OpenError;

use self::{
    error::cannot_open,
    place::{FileId, beside, check_writable, folder_of, is_locked, lock, place, private, remove},
};
use super::record::{self, BadRecord, FIRST_FORMAT, FORMAT, Meta, format_of, millis};
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

/// A store in a file.
pub(crate) struct FileStore {
    file: Arc<StoreFile>,
}

struct StoreFile {
    path: PathBuf,
    grace: Duration,
    request_key: Secret,
    /// None while it is written, and once that failed, up to the next replacement.
    database: Guarded<Option<OpenFile>>,
    make: MakeDatabase,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What a start would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundStore {
    /// No file: it would be made.
    Nothing,
    /// A running server has it.
    InUse,
    /// So many leases.
    Leases(usize),
}

/// A database, and the file that it is in.
struct OpenFile {
    database: Database,
    id: FileId,
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
        let make = |file| builder().create_with_backend(FileBackend::new(file)?);
        Self::open_with(options, first, Arc::new(make))
    }

    /// What [`FileStore::open`] would find, or why it would fail. Nothing on the disk is changed.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) fn check(path: &Path, anyway: bool) -> Result<FoundStore, OpenError> {
        let (path, is_there) = place(path, anyway)?;
        if is_locked(&path)? {
            return Ok(FoundStore::InUse);
        }
        if !is_there {
            check_writable(&path)?;
            return Ok(FoundStore::Nothing);
        }
        let io = |error| OpenError::Io { path: path.clone(), error };
        let mut file = File::options().read(true).write(true).open(&path).map_err(io)?;
        Ok(FoundStore::Leases(StoredFile::copied(&mut file, &path)?.leases.len()))
    }

    fn open_with(
        options: OpenOptions,
        first: impl FnOnce(Floors) -> Floors,
        make: MakeDatabase,
    ) -> Result<(Self, StoredState), OpenError> {
        let OpenOptions { path, grace, anyway } = options;
        let (path, is_there) = place(&path, anyway)?;
        let io = |error| OpenError::Io { path: path.clone(), error };
        let lock = lock(&path)?;
        if !is_there {
            // Made whole before it has its name: no half file is ever found.
            let request_key =
                Secret::random().map_err(|_| io(io::Error::other("the system has no random bytes")))?;
            let meta = Meta {
                format: FIRST_FORMAT,
                request_key: request_key.reveal().to_owned(),
                ..Meta::default()
            };
            create(&path, &make, &meta, &[]).map_err(io)?;
        }
        let mut file = File::options().read(true).write(true).open(&path).map_err(io)?;
        let id = FileId::of(&file.metadata().map_err(io)?);
        let foreign = |reason: String| OpenError::Foreign { path: path.clone(), reason };
        check_start(&mut file, &path)?;
        let database = make(file).map_err(|error| cannot_open(&path, error))?;
        let (mut meta, leases) = read(&database, &path)?;
        let floors = first(meta.floors());
        let (ceiling, grace_left) = (floors.ahead(), Duration::from_millis(meta.grace_ms));
        let request_key: Secret =
            meta.request_key.parse().map_err(|_| foreign("it has no key".to_owned()))?;
        let state =
            StoredState { leases, floors, ceiling, request_key: request_key.clone(), grace: grace_left };
        meta.format = format_of_all(&state.leases);
        meta.set_floors(ceiling);
        // A crash from now on leaves leases that were not written, those of the last run included.
        meta.grace_ms = meta.grace_ms.max(millis(grace));
        meta.is_open = true;
        write_meta(&database, &meta).map_err(|error| io(into_io(error)))?;
        let database = Guarded::new(Rank::StoreFile, Some(OpenFile { database, id }));
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
        // redb refuses everything after an error, and the system may have lost what it was to write: only behind a commit
        // is it kept.
        let open = self.take().ok_or(closed())?;
        write_batch(&open.database, batch)?;
        open.id.check_is_at(&self.path)?;
        *self.database.lock() = Some(open);
        Ok(())
    }

    fn replace(&self, leases: &[DurableLease], floors: Floors) -> Result<(), redb::Error> {
        drop(self.take());
        let request_key = self.request_key.reveal().to_owned();
        let grace_ms = millis(self.grace);
        let format = format_of_all(leases);
        let mut meta = Meta { format, grace_ms, request_key, is_open: true, ..Meta::default() };
        meta.set_floors(floors);
        let open = create(&self.path, &self.make, &meta, leases)?;
        *self.database.lock() = Some(open);
        Ok(())
    }

    fn close(&self, last: Floors, is_quiet: bool) -> Result<(), redb::Error> {
        let OpenFile { database, id } = self.take().ok_or(closed())?;
        let mut meta = read_meta(&database)?;
        // The next ones: tokens are above the last, and session ids behind it.
        meta.set_floors(Floors { token: last.token + 1, session: last.session });
        meta.grace_ms = if is_quiet { 0 } else { millis(self.grace) };
        meta.is_open = false;
        write_meta(&database, &meta)?;
        Ok(id.check_is_at(&self.path)?)
    }

    fn take(&self) -> Option<OpenFile> {
        self.database.lock().take()
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
    // With the first lease that an older version would misread, in one step.
    let needs = batch.changes.iter().filter_map(|(_, change)| change.put()).map(format_of).max();
    if batch.floors.is_some() || needs.is_some_and(|needs| needs > FIRST_FORMAT) {
        let mut meta = meta_in(&transaction)?;
        meta.format = meta.format.max(needs.unwrap_or_default());
        batch.floors.into_iter().for_each(|floors| meta.set_floors(floors));
        put_meta(&transaction, &meta)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The oldest format that a file with these leases may have.
fn format_of_all(leases: &[DurableLease]) -> u32 {
    leases.iter().map(format_of).max().unwrap_or(FIRST_FORMAT)
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

fn read(database: &Database, path: &Path) -> Result<(Meta, Vec<DurableLease>), OpenError> {
    let foreign =
        |error: redb::Error| OpenError::Foreign { path: path.to_owned(), reason: error.to_string() };
    let meta = read_meta(database).map_err(foreign)?;
    if meta.format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), format: meta.format });
    }
    Ok((meta, read_leases(database).map_err(foreign)?))
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
fn create(path: &Path, make: &MakeDatabase, meta: &Meta, leases: &[DurableLease]) -> io::Result<OpenFile> {
    let new = beside(path, "new");
    // Of a start that was cut off.
    remove(&new)?;
    let created = create_at(&new, make, meta, leases).and_then(|open| {
        fs::rename(&new, path)?;
        File::open(folder_of(path))?.sync_all()?;
        Ok(open)
    });
    if created.is_err() {
        // On a full disk others need the room.
        let _ = remove(&new);
    }
    created
}

fn create_at(new: &Path, make: &MakeDatabase, meta: &Meta, leases: &[DurableLease]) -> io::Result<OpenFile> {
    let file = private().create_new(true).open(new)?;
    let id = FileId::of(&file.metadata()?);
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
    Ok(OpenFile { database, id })
}

/// With every page verified: redb trusts a file that was closed in good order, and may panic if the disk has changed it.
fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

/// What each file of redb starts with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Refuses what is no database before redb writes to it: to redb an empty file is a new one.
fn check_start(file: &mut File, path: &Path) -> Result<(), OpenError> {
    let mut start = [0; MAGIC.len()];
    match file.read_exact(&mut start) {
        Ok(()) if start == MAGIC => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(OpenError::Io { path: path.to_owned(), error })
        }
        _ => {
            let reason = "it does not start as one".to_owned();
            Err(OpenError::Foreign { path: path.to_owned(), reason })
        }
    }
}

fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
