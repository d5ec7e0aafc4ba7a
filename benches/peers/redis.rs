//! Redis: a key that exists while the lock is held.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use sha1::{Digest, Sha1};

use crate::{
    LINE_ONLY, LOADS, Peer, Way,
    common::{Server, free_port, load::Wire},
};

/// Frees it only for who has it.
const SCRIPT: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

const PLAIN: Wire =
    Wire { log_in: |_| (), take, free: |name, _| words(&["DEL", name]), reply, pause: Duration::ZERO };

const SAFE: Wire = Wire {
    log_in: load_script,
    free: |name, at| words(&["EVALSHA", &hash(), "1", name, &format!("{at}")]),
    ..PLAIN
};

/// As the client for Python does where one does not say how long.
const PATIENT: Wire = Wire { pause: Duration::from_millis(100), ..SAFE };

const WAYS: &[Way] = &[
    Way {
        does: "SET name v NX PX 30000, DEL name",
        gives_up: "the queue: who waits polls (here at once) and any may be next; the end of the connection, which frees \
            nothing: a lock stays until its time is over; safety: one held longer is lost, and then DEL frees \
            another's; deadlocks are not found",
        clients: &PLAIN,
        loads: LOADS,
        beside: LINE_ONLY,
    },
    Way {
        does: "SET name v NX PX 30000, EVALSHA of a script that looks at v first",
        gives_up: "as above, but it frees nobody else's",
        clients: &SAFE,
        loads: LOADS,
        beside: LINE_ONLY,
    },
    Way {
        does: "the same, polling each 100 ms",
        gives_up: "as above, and fairness: who asks again at once after freeing it gets it, the others do not",
        clients: &PATIENT,
        loads: &[LOADS[2]],
        beside: LINE_ONLY,
    },
];

pub fn start() -> Option<Peer> {
    let version = crate::version("redis-server")?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut command = Command::new("redis-server");
    command.current_dir(&folder).args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    Some(Peer { version, server: Server::start(command, port), port, ways: WAYS, _folder: folder })
}

fn words(all: &[&str]) -> Vec<u8> {
    let one = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", all.len(), all.iter().map(one).collect::<String>()).into_bytes()
}

fn take(name: &str, at: usize) -> Vec<u8> {
    words(&["SET", name, &format!("{at}"), "NX", "PX", "30000"])
}

/// Each reply is one line.
fn reply(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[..end];
    assert_ne!(line.first(), Some(&b'-'), "{}", String::from_utf8_lossy(line));
    Some((end + 2, matches!(line, b"+OK" | b":1")))
}

fn load_script(stream: &mut TcpStream) {
    stream.write_all(&words(&["SCRIPT", "LOAD", SCRIPT])).unwrap();
    let wanted = format!("$40\r\n{}\r\n", hash());
    let mut reply = vec![0; wanted.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply, wanted.as_bytes());
}

fn hash() -> String {
    Sha1::digest(SCRIPT).iter().map(|byte| format!("{byte:02x}")).collect()
}
