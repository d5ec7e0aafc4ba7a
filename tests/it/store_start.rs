//! Lease stores that a server does not start with: one line each says what is wrong and what to do, as `getlockd check`
//! does, and nothing on the disk is changed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::common::{
    program::{PROGRAM, Program, next_with},
    skip::skip,
};

/// Flags with which a server starts, on a port of its own choice.
const FLAGS: [&str; 6] = ["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off"];

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn command(task: Option<&str>, store: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(task).args(FLAGS).args(flags).arg("--store").arg(store);
    command.stdin(Stdio::null());
    command
}

/// The files of a folder, with what is in them.
fn files(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), fs::read(path).ok())
        })
        .collect()
}

/// What the server and the check of its flags say: the same, in one line, without `getlockd: `.
fn refused(store: &Path, flags: &[&str]) -> String {
    let folder = store.parent().unwrap();
    let files = || {
        let mut files = files(folder);
        // It says whose the store is, also that of a server that did not start.
        files.remove(&format!("{}.lock", store.display()));
        files
    };
    let before = files();
    let [started, checked] = [None, Some("check")].map(|task| {
        let output = command(task, store, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    });
    let after = files();
    assert!(before == after, "{before:?}, {after:?}");
    assert_eq!(started, checked);
    let line = started.strip_prefix("getlockd: ").unwrap_or_else(|| panic!("{started}"));
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// A server starts, and stops in good order.
fn started(store: &Path, flags: &[&str]) {
    let mut program = Program::spawn(&mut command(None, store, flags));
    next_with(program.log.as_mut().unwrap(), "leases restored");
    program.signal("-TERM");
    assert!(program.wait().0.success());
}

#[test]
fn files_that_are_no_stores_are_refused_and_left_as_they_are() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("leases");
    let at = path.display();
    let foreign = |reason: &str| {
        format!(
            "{at} is not a lease store of getlockd, or is damaged ({reason}); move it away, or restore a backup"
        )
    };
    for text in ["", "#!/bin/sh\necho hello\n"] {
        fs::write(&path, text).unwrap();
        assert_eq!(refused(&path, &["--store-anyway"]), foreign("it does not start as one"));
    }
    fs::remove_file(&path).unwrap();
    started(&path, &["--store-anyway"]);
    let torn = fs::read(&path).unwrap();
    fs::write(&path, &torn[..torn.len() / 4]).unwrap();
    assert!(
        refused(&path, &["--store-anyway"]).starts_with(&format!("{at} is not a lease store of getlockd, "))
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let told = refused(&path, &["--store-anyway"]);
    assert_eq!(told, format!("{at} is not a regular file; name a file for --store"));
}

#[test]
fn missing_folder_and_dangling_link_are_told() {
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("nowhere");
    let told = refused(&nowhere.join("leases"), &[]);
    assert_eq!(
        told,
        format!(
            "cannot keep a lease store in {}: No such file or directory (os error 2); make it first",
            nowhere.display()
        )
    );
    let link = folder.path().join("link");
    symlink(nowhere.join("leases"), &link).unwrap();
    let told = refused(&link, &[]);
    assert!(
        told.starts_with(&format!("cannot open the lease store {}: No such file", link.display())),
        "{told}"
    );
}

#[test]
fn running_server_keeps_its_store_and_check_says_so() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("leases");
    let check = || {
        let output = command(Some("check"), &path, &["--store-anyway"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output).lines().find(|line| line.starts_with("store: ")).unwrap().to_owned()
    };
    let at = path.display();
    assert_eq!(check(), format!("store: {at}, to be made"));
    assert!(files(folder.path()).is_empty(), "a check makes nothing");
    let server = Program::spawn(&mut command(None, &path, &["--store-anyway"]));
    let second = command(None, &path, &["--store-anyway"]).output().unwrap();
    assert_eq!(
        said(&second),
        format!(
            "getlockd: {at} is in use by another getlockd; stop that one, or give this one another file\n"
        )
    );
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(check(), format!("store: {at}, in use by a running server"));
    drop(server);
    let crashed = files(folder.path());
    assert_eq!(check(), format!("store: {at}, with 0 leases"));
    assert!(files(folder.path()) == crashed, "a check repairs nothing");
    started(&path, &["--store-anyway"]);
}

#[cfg(target_os = "linux")]
#[test]
fn file_system_that_forgets_is_refused_unless_it_is_wanted() {
    let Ok(folder) = TempDir::new_in("/dev/shm") else {
        return skip("a store on a tmpfs", "/dev/shm cannot be written", "mount it");
    };
    let path = folder.path().join("leases");
    let told = refused(&path, &[]);
    assert_eq!(
        told,
        format!(
            "{} is on tmpfs, which may lose it or not lock it; use a local disk, or --store-anyway",
            path.display()
        )
    );
    started(&path, &["--store-anyway"]);
    // The file counts, and not the link to it.
    let elsewhere = TempDir::new().unwrap();
    let link = elsewhere.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(refused(&link, &[]), told);
}

/// Where the user of the server may not write.
#[test]
fn missing_rights_are_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("leases");
    started(&path, &["--store-anyway"]);
    let closed = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    // Where everyone may see the folder, and none but root write to it.
    closed(folder.path(), 0o555);
    closed(&path, 0o444);
    let told = |store: &Path| {
        let [started, checked] = [None, Some("check")].map(|task| {
            let command = command(task, store, &["--store-anyway"]);
            let mut as_nobody = Command::new("setpriv");
            as_nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", PROGRAM]);
            let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
            let mut command = if is_root {
                as_nobody.args(command.get_args());
                as_nobody
            } else {
                command
            };
            said(&command.output().unwrap())
        });
        assert_eq!(started, checked);
        started
    };
    let new = folder.path().join("new");
    assert_eq!(
        told(&new),
        format!(
            "getlockd: cannot keep a lease store in {}: Permission denied (os error 13); let the user of getlockd \
             write there\n",
            folder.path().display()
        )
    );
    let lock = folder.path().join("leases.lock");
    assert_eq!(
        told(&path),
        format!(
            "getlockd: cannot open the lease store {}: Permission denied (os error 13); let the user of getlockd write \
             there\n",
            lock.display()
        )
    );
    closed(folder.path(), 0o755);
}
