//! The files of a store: where they are, whose they are, and on what kind of file system.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::error::OpenError;

/// How often, and how far apart, a lock is tried again: `getlockd store` may be reading, and a server that was killed may
/// not be quite gone.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// For a file that none but its owner reads: a store has a key, and says what clients say of themselves. Who may open the
/// lock could keep a server from starting.
pub(super) fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Where the file is in truth, as a new one takes the place of the file and not of a link to it; and whether it is there.
pub(super) fn place(path: &Path, anyway: bool) -> Result<(PathBuf, bool), OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let is_there = match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(io(error)),
    };
    let path = if is_there {
        path.canonicalize().map_err(io)?
    } else {
        let folder = folder_of(path);
        let found = folder.canonicalize();
        let found = found.map_err(|error| OpenError::Folder { path: folder.to_owned(), error })?;
        found.join(path.file_name().ok_or_else(|| OpenError::NotAFile(path.to_owned()))?)
    };
    if is_there && !fs::metadata(&path).map_err(io)?.is_file() {
        return Err(OpenError::NotAFile(path));
    }
    if !anyway && let Some(kind) = file_system::unfit(folder_of(&path)).map_err(io)? {
        return Err(OpenError::FileSystem { path, kind });
    }
    Ok((path, is_there))
}

/// Says whose the store is, for as long as it is open.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let at = beside(path, "lock");
    let file = private().create(true).truncate(false).open(&at).map_err(|error| {
        if at.exists() {
            OpenError::Io { path: at.clone(), error }
        } else {
            OpenError::Folder { path: folder_of(path).to_owned(), error }
        }
    })?;
    let mut locked = file.try_lock();
    for _ in 0..LOCK_TRIES {
        if !matches!(locked, Err(fs::TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(LOCK_PAUSE);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::Io { path: at, error }),
    }
}

/// Whether a server has it. Nothing is made.
pub(super) fn is_locked(path: &Path) -> Result<bool, OpenError> {
    let at = beside(path, "lock");
    let file = match File::open(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|error| OpenError::Io { path: at, error })?,
    };
    // Given back at once: this asks no more than a moment of a server that starts.
    Ok(file.try_lock_shared().is_err())
}

/// Whether a file could be made there.
pub(super) fn check_writable(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
        .map_err(|error| OpenError::Folder { path: folder.to_owned(), error: error.into() })
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &fs::Metadata) -> Self {
        Self {}
    }

    /// What is written to a file that was deleted, moved or replaced is lost.
    pub(super) fn check_is_at(self, path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if Self::of(&metadata) == self => Ok(()),
            Ok(_) => Err(io::Error::other("another file has its name")),
            Err(error) => Err(error),
        }
    }
}

/// The path of a file beside it.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
