//! PostgreSQL: advisory locks, whose names are numbers.

use std::{
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    LINE_ONLY, LOADS, Peer, Way,
    common::{Server, free_port, load::Wire},
};

const ADVISORY: Wire = Wire {
    log_in: |stream| assert!(log_in(stream), "it does not let us in"),
    take: |name, _| query(&format!("SELECT pg_advisory_lock({})", number(name))),
    free: |name, _| query(&format!("SELECT pg_advisory_unlock({})", number(name))),
    reply,
    pause: Duration::ZERO,
};

const WAYS: &[Way] = &[Way {
    does: "SELECT pg_advisory_lock(hash), SELECT pg_advisory_unlock(hash)",
    gives_up: "names: they are hashed to numbers and may collide; a timeout in the call. It queues, frees at the end of \
        the connection and finds deadlocks after a second; a process for each connection",
    clients: &ADVISORY,
    loads: LOADS,
    beside: LINE_ONLY,
}];

pub fn start() -> Option<Peer> {
    let version = crate::version(program("postgres"))?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    if is_root() {
        let given = Command::new("chown").arg("postgres").arg(folder.path()).status();
        assert!(given.unwrap().success(), "chown");
    }
    let data = folder.path().join("data");
    let mut install = not_as_root("initdb");
    install.args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data).stdout(Stdio::null());
    assert!(install.status().unwrap().success(), "initdb");
    let mut command = not_as_root("postgres");
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]).arg(folder.path());
    let server = Server::start(command, port);
    // It listens before it lets anyone in.
    while !log_in(&mut TcpStream::connect(("127.0.0.1", port)).unwrap()) {
        thread::sleep(Duration::from_millis(50));
    }
    Some(Peer { version, server, port, ways: WAYS, _folder: folder })
}

/// Debian has them in a folder for each version, which is not in the path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name));
    programs.filter(|program| program.exists()).max().unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// It does not run as root.
fn not_as_root(name: &str) -> Command {
    if !is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"].map(OsStr::new));
    command.arg(program(name)).current_dir("/");
    command
}

fn number(name: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish().cast_signed()
}

/// A length, which counts itself, and what it is the length of.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 4).unwrap();
    [&length.to_be_bytes(), payload].concat()
}

fn query(sql: &str) -> Vec<u8> {
    [b"Q", &framed(format!("{sql}\0").as_bytes())[..]].concat()
}

/// False if it is only about to start.
fn log_in(stream: &mut TcpStream) -> bool {
    let version: u32 = 3 << 16;
    let who = b"user\0postgres\0database\0postgres\0\0";
    stream.write_all(&framed(&[&version.to_be_bytes(), &who[..]].concat())).unwrap();
    let (mut bytes, mut space) = (Vec::new(), [0; 1024]);
    while bytes.first() != Some(&b'E') && reply(&bytes).is_none() {
        let read = stream.read(&mut space).unwrap();
        assert!(read > 0, "the server has gone");
        bytes.extend_from_slice(&space[..read]);
    }
    bytes[0] != b'E'
}

/// Messages until it is ready for the next query. No row may say false.
fn reply(bytes: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut yes) = (0, true);
    loop {
        let [kind, a, b, c, d, rest @ ..] = &bytes[at..] else { return None };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let payload = rest.get(..length - 4)?;
        assert_ne!(*kind, b'E', "{}", String::from_utf8_lossy(payload));
        yes &= *kind != b'D' || payload.last() != Some(&b'f');
        at += 1 + length;
        if *kind == b'Z' {
            return Some((at, yes));
        }
    }
}
