//! TLS on each wire: who comes in, how they leave, and certificates that are reloaded.

mod caller;
mod tools;

use std::fs;

use crate::common::{
    PATIENCE, TestServer,
    authority::{Authority, connect, text},
    http, mysql,
    mysql::MySql,
    program::PROGRAM,
};
use caller::{Caller, WIRES, Wire, read_packet};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// All that comes in plain text until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end in time").unwrap();
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn lock_is_taken_on_every_wire() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let client = authority.client(None);
    let mut callers = Vec::new();
    for (count, wire) in (1..).zip(WIRES) {
        let mut caller = Caller::come(wire, server.addrs(), &client).await.unwrap();
        assert_eq!(caller.get(&format!("{wire:?}"), 0).await.unwrap(), "1");
        server.until(|stats| stats.table.locks == count).await;
        callers.push(caller);
    }
    let mut last = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    for wire in WIRES {
        assert_eq!(last.get(&format!("{wire:?}"), 0).await.unwrap(), "0");
    }
}

#[tokio::test]
async fn plaintext_is_refused_on_every_port() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let mut line = server.client().await;
    assert_eq!(line.ask("PING").await, "ERROR WRONG_PROTOCOL this port requires TLS; closing");
    assert_eq!(line.next().await, None);

    let mut mysql = MySql::greeted(server.mysql).await;
    let login = mysql.login("caching_sha2_password", b"", "");
    mysql.send(1, &login).await;
    let told = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
    let refused = mysql.reply().await;
    assert_eq!(refused, mysql_error(3159, told));
    assert_eq!(mysql.packet().await, None);

    let (status, body) = http::get(server.http, "/healthz").await;
    assert_eq!((status, body.as_str()), (400, "this port requires TLS: use https://...\n"));
}

fn mysql_error(code: u16, text: &str) -> mysql::Reply {
    mysql::Reply::Error { code, state: "HY000".to_owned(), text: text.to_owned() }
}

#[tokio::test]
async fn optional_serves_both() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&["--tls", "optional"]));
    let client = authority.client(None);
    let mut line = server.client().await;
    assert_eq!(line.ask("PING").await, "PONG");
    let mut mysql = MySql::connect(server.mysql).await;
    assert_eq!(mysql.value("SELECT @@have_ssl").await.as_deref(), Some("YES"));
    assert_eq!(mysql.value("SELECT @@require_secure_transport").await.as_deref(), Some("0"));
    assert_eq!(http::get(server.http, "/healthz").await.0, 200);
    for wire in WIRES {
        let mut caller = Caller::come(wire, server.addrs(), &client).await.unwrap();
        assert_eq!(caller.get(&format!("{wire:?}"), 0).await.unwrap(), "1");
    }
}

#[tokio::test]
async fn without_certificate_is_refused_and_not_announced() {
    let (authority, server) = (Authority::new(), TestServer::start());
    let client = authority.client(None);
    for addr in [server.addr, server.http] {
        assert!(connect(&client, addr).await.is_err());
    }
    let mut stream = TcpStream::connect(server.mysql).await.unwrap();
    let greeting = read_packet(&mut stream).await.unwrap();
    let version = greeting[1..].iter().position(|byte| *byte == 0).unwrap();
    // Behind the version: the id, eight bytes, a zero, and the lower half of what the server can.
    let at = version + 2 + 4 + 8 + 1;
    let capabilities = u16::from_le_bytes([greeting[at], greeting[at + 1]]);
    assert_eq!(capabilities & 1 << 11, 0);
}

#[tokio::test]
async fn client_ca_admits_only_its_certificates() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = authority.ca();
    let server = TestServer::with(&authority.sign("server").flags(&["--tls-client-ca", text(&ca)]));
    let foreign = stranger.sign("client");
    for (shows, wire) in [None, Some(&foreign)].into_iter().flat_map(|s| WIRES.map(|wire| (s, wire))) {
        // By TLS 1.3 a client learns only by what it reads that it was not let in.
        let refused = match Caller::come(wire, server.addrs(), &authority.client(shows)).await {
            Ok(mut caller) => caller.get("x", 0).await.map(drop),
            Err(error) => Err(error),
        };
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("alert"), "{wire:?}: {refused}");
    }
    assert_eq!(server.service.stats().table.grants, 0);
    let known = authority.client(Some(&authority.sign("client")));
    for wire in WIRES {
        let mut caller = Caller::come(wire, server.addrs(), &known).await.unwrap();
        assert_eq!(caller.get(&format!("{wire:?}"), 0).await.unwrap(), "1");
    }
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// By a goodbye of TLS alone: the socket stays open.
    CloseNotify,
    /// By the end of the stream, without a goodbye.
    Fin,
    /// By a reset.
    Reset,
}

#[tokio::test]
async fn disconnect_of_a_waiter_leaves_the_queue() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let client = authority.client(None);
    let mut holder = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    assert_eq!(holder.get("x", 0).await.unwrap(), "1");
    for wire in WIRES {
        for leaving in [Leaving::CloseNotify, Leaving::Fin, Leaving::Reset] {
            let mut waiter = Caller::come(wire, server.addrs(), &client).await.unwrap();
            waiter.send("x", 600).await.unwrap();
            server.until_waiting(1).await;
            let _open = leave(waiter, leaving).await;
            server.until_waiting(0).await;
        }
    }
}

/// The socket stays open for as long as what is returned.
async fn leave(mut waiter: Caller, leaving: Leaving) -> Caller {
    match leaving {
        Leaving::CloseNotify => {
            waiter.io.get_mut().1.send_close_notify();
            waiter.io.flush().await.unwrap();
        }
        Leaving::Fin => waiter.io.get_mut().0.shutdown().await.unwrap(),
        Leaving::Reset => {
            let (socket, _) = waiter.io.get_mut();
            socket.set_zero_linger().unwrap();
            // Closes it in place of the one that is dropped later.
            let other = TcpStream::connect(socket.peer_addr().unwrap()).await.unwrap();
            drop(std::mem::replace(socket, other));
        }
    }
    waiter
}

#[tokio::test]
async fn disconnect_of_a_holder_frees_its_lock() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let client = authority.client(None);
    for wire in [Wire::Line, Wire::MySql] {
        for leaving in [Leaving::CloseNotify, Leaving::Fin, Leaving::Reset] {
            let mut holder = Caller::come(wire, server.addrs(), &client).await.unwrap();
            assert_eq!(holder.get("x", 0).await.unwrap(), "1");
            let _open = leave(holder, leaving).await;
            server.until(|stats| stats.table.locks == 0).await;
        }
    }
}

#[tokio::test]
async fn replies_beyond_all_buffers_arrive() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let mut caller = Caller::come(Wire::Line, server.addrs(), &authority.client(None)).await.unwrap();
    let (mut read, mut write) = tokio::io::split(&mut caller.io);
    let count = 200_000;
    let asking = async {
        write.write_all("HELLO\n".repeat(count).as_bytes()).await.unwrap();
        write.flush().await.unwrap();
    };
    let hearing = async {
        let (mut lines, mut space) = (0, vec![0; 1 << 16]);
        while lines < count {
            let came = timeout(PATIENCE, read.read(&mut space)).await.expect("more in time").unwrap();
            assert!(came > 0);
            lines += space[..came].iter().filter(|byte| **byte == b'\n').count();
        }
    };
    tokio::join!(asking, hearing);
}

#[tokio::test]
async fn killed_session_is_told_why() {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    let client = authority.client(None);
    let mut victim = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    assert_eq!(victim.get("x", 0).await.unwrap(), "1");
    let mut killer = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    killer.io.write_all(b"KILL 1\n").await.unwrap();
    assert_eq!(killer.answer().await.unwrap(), "1");
    assert!(victim.answer().await.unwrap().starts_with("ERROR KILLED "));
    let mut rest = Vec::new();
    assert_eq!(victim.io.read_to_end(&mut rest).await.unwrap(), 0, "a goodbye of TLS");
}

#[tokio::test]
async fn handshake_timeout_closes_and_does_not_delay_drain() {
    let authority = Authority::new();
    let flags = ["--login-time", "150ms"];
    let server = TestServer::with(&authority.sign("server").flags(&flags));
    for addr in [server.addr, server.http] {
        let (mut silent, mut slow) =
            (TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap());
        slow.write_all(b"\x16\x03\x01").await.unwrap();
        assert_eq!((rest(&mut silent).await, rest(&mut slow).await), Default::default());
    }
    // By HTTP the request has to begin in that time, too.
    let mut mute = connect(&authority.client(None), server.http).await.unwrap();
    assert!(timeout(PATIENCE, mute.read(&mut [0])).await.expect("the end in time").is_err());

    let mut server = TestServer::with(&authority.sign("server").flags(&["--login-time", "1h"]));
    let mut slow = TcpStream::connect(server.addr).await.unwrap();
    slow.write_all(b"\x16\x03\x01").await.unwrap();
    server.until(|stats| stats.sessions == 1).await;
    server.stop();
    server.stopped().await;
}

#[tokio::test]
async fn certificate_reload_keeps_connections() {
    let authority = Authority::new();
    let files = authority.sign("server");
    let (server, first) = (TestServer::with(&files.flags(&[])), files.der());
    let client = authority.client(None);
    let mut old = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    assert_eq!(old.get("x", 0).await.unwrap(), "1");
    let seen = |caller: &Caller| caller.io.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_eq!(seen(&old), first);

    let second = authority.sign("server").der();
    server.reload().unwrap();
    for wire in WIRES {
        let mut new = Caller::come(wire, server.addrs(), &client).await.unwrap();
        assert_eq!(seen(&new), second, "{wire:?}");
        assert_eq!(new.get("x", 0).await.unwrap(), "0");
    }
    assert_eq!(old.get("x", 0).await.unwrap(), "1", "it has it still");

    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nof somebody\n").unwrap();
    let told = server.reload().unwrap_err();
    assert!(told.contains("server.key is malformed"), "{told}");
    let new = Caller::come(Wire::Line, server.addrs(), &client).await.unwrap();
    assert_eq!(seen(&new), second, "what is broken is not taken");
}

#[test]
fn wrong_file_is_a_single_line_error() {
    let authority = Authority::new();
    let (files, other) = (authority.sign("server"), authority.sign("other"));
    let empty = authority.folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let broken = authority.folder.path().join("broken");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let encrypted = authority.folder.path().join("encrypted.key");
    fs::write(
        &encrypted,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let marked = authority.folder.path().join("marked.pem");
    fs::write(&marked, format!("\u{feff}{}", fs::read_to_string(&files.cert).unwrap())).unwrap();
    let [cert, key, other, empty, broken, encrypted, marked] =
        [&files.cert, &files.key, &other.key, &empty, &broken, &encrypted, &marked].map(|f| text(f));
    for (flags, told) in [
        (&["--tls-cert", "/no/such", "--tls-key", key][..], "cannot read /no/such: "),
        (&["--tls-cert", cert, "--tls-key", empty], " contains no private key; it must be a PEM file"),
        (&["--tls-cert", key, "--tls-key", key], " contains no certificate; it must be a PEM file"),
        (&["--tls-cert", broken, "--tls-key", key], "/broken is malformed: "),
        (&["--tls-cert", cert, "--tls-key", other], "/other.key does not belong to the certificate in "),
        (
            &["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", empty],
            "/empty contains no certificate; it must be a PEM file",
        ),
        (
            &["--tls-cert", cert, "--tls-key", encrypted],
            "/encrypted.key: the private key is encrypted; decrypt it",
        ),
        (&["--tls-cert", cert], "--tls-cert needs --tls-key"),
        // An editor has put a byte order mark in front. The files are right.
        (&["--tls-cert", marked, "--tls-key", key, "--line", "systemd"], "systemd"),
    ] {
        let output = std::process::Command::new(PROGRAM).args(flags).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let last = text.lines().last().unwrap();
        assert!(!output.status.success() && text.lines().count() == 1, "{text}");
        assert!(last.starts_with("getlockd: ") && last.contains(told), "{text}");
    }
}
