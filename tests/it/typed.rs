//! What people type and paste, by netcat and telnet.

use tokio::io::AsyncReadExt;

use crate::common::{Client, TestServer};

const IAC: u8 = 255;

/// What inetutils' telnet sends for `^C`: interrupt the process, and tell when you have.
const TELNET_INTERRUPT: [u8; 5] = [IAC, 244, IAC, 253, 6];

/// `IAC WONT TIMING-MARK`. Until it comes telnet shows nothing.
async fn reads_refusal(client: &mut Client) {
    let mut refusal = [0; 3];
    client.stream.read_exact(&mut refusal).await.unwrap();
    assert_eq!(refusal, [IAC, 252, 6]);
}

#[tokio::test]
async fn telnet_interrupt_cancels_the_wait_and_keeps_the_locks() {
    let server = TestServer::start();
    let [mut holder, mut telnet] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    assert_eq!(telnet.ask("GET_LOCK mine 0\r").await, "1");
    telnet.send("GET_LOCK x 60\r").await;
    server.until_waiting(1).await;
    // Wherever it is cut.
    telnet.send_bytes(&TELNET_INTERRUPT[..4]).await;
    assert_eq!(
        telnet.line().await,
        "ERROR INTERRUPTED wait cancelled by ^C; the session and its locks remain"
    );
    telnet.send_bytes(&TELNET_INTERRUPT[4..]).await;
    reads_refusal(&mut telnet).await;
    assert_eq!(telnet.ask("IS_USED_LOCK mine\r").await, "2");
}

#[tokio::test]
async fn telnet_interrupt_without_a_wait_leaves_no_text() {
    let server = TestServer::start();
    let mut telnet = server.client().await;
    telnet.send_bytes(&TELNET_INTERRUPT).await;
    reads_refusal(&mut telnet).await;
    assert_eq!(telnet.ask("PING").await, "PONG");
}

#[tokio::test]
async fn telnet_interrupt_that_arrives_with_its_command_cancels_it() {
    let server = TestServer::start();
    let [mut holder, mut telnet] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    telnet.send_bytes(&[&b"PING\nGET_LOCK x 60\n"[..], &TELNET_INTERRUPT[..2], b"PING\n"].concat()).await;
    assert_eq!(telnet.line().await, "PONG");
    assert_eq!(
        telnet.line().await,
        "ERROR INTERRUPTED wait cancelled by ^C; the session and its locks remain"
    );
    assert_eq!(telnet.line().await, "PONG");
    // What is typed behind it is wanted.
    telnet.send_bytes(&[&TELNET_INTERRUPT[..2], b"GET_LOCK x 60\n"].concat()).await;
    server.until_waiting(1).await;
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(telnet.line().await, "1");
}

#[tokio::test]
async fn telnet_synch_leaves_no_text() {
    let server = TestServer::start();
    let mut telnet = server.client().await;
    telnet.send_bytes(&[IAC]).await;
    // `DM`: the mark of a Synch is urgent data.
    assert_eq!(socket2::SockRef::from(telnet.stream.get_ref()).send_out_of_band(&[242]).unwrap(), 1);
    assert_eq!(telnet.ask("PING").await, "PONG");
}

#[tokio::test]
async fn bytes_like_telnet_parameters_end_no_conversation() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // In Latin-1.
    client.send_bytes(b"GET_LOCK \xff\xfa 0\n").await;
    client.send_bytes(&b"PING\n".repeat(200)).await;
    assert_eq!(client.line().await, "ERROR BAD_NAME the name is not valid UTF-8; send UTF-8");
    for _ in 0..200 {
        assert_eq!(client.line().await, "PONG");
    }
}

#[tokio::test]
async fn byte_order_mark_at_the_start_is_no_text() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("\u{feff}PING").await, "PONG");
    let later = client.ask("\u{feff}PING").await;
    assert_eq!(
        later,
        r"ERROR UNKNOWN_COMMAND unknown command '\u{feff}PING'; replace or remove the character U+FEFF"
    );
}

#[tokio::test]
async fn unseen_characters_and_other_quotes_are_refused_when_bare() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for (unseen, number) in [("\u{a0}", "00A0"), ("\u{200b}", "200B"), ("\u{202e}", "202E")] {
        let refused = format!(
            "ERROR BAD_NAME the character U+{number} cannot be seen; remove it, or put the string in ' or \""
        );
        assert_eq!(client.ask(&format!("GET_LOCK a{unseen}b 0")).await, refused);
        assert_eq!(client.ask(&format!("GET_LOCK 'a{unseen}b' 0")).await, "1");
    }
    for (opening, closing) in [("“", "”"), ("‘", "’"), ("„", "“"), ("«", "»"), ("´", "´")] {
        let refused = format!("ERROR BAD_NAME {opening} is not a quotation mark here; use ' or \"");
        assert_eq!(client.ask(&format!("GET_LOCK {opening}a{closing} 0")).await, refused);
        assert_eq!(
            client.ask(&format!("GET_LOCK({opening}two words{closing}, 0)")).await.split(' ').next(),
            Some("ERROR")
        );
        assert_eq!(client.ask(&format!("GET_LOCK {opening}two words{closing} 0")).await, refused);
        assert_eq!(client.ask(&format!("GET_LOCK 'a{closing}' 0")).await, "1");
    }
    // It is no quotation mark there.
    assert_eq!(client.ask("GET_LOCK o’clock 0").await, "1");
    let timeout = client.ask("GET_LOCK a 1\u{a0}").await;
    assert!(timeout.starts_with(r"ERROR BAD_TIMEOUT '1\u{a0}' is not a timeout; "), "{timeout}");
}

#[tokio::test]
async fn password_behind_a_mistyped_command_is_not_repeated() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for line in [
        "LOGIN app1 secret",
        "AUHT app1 secret",
        "AUTH app1 “secret” x",
        "login secret",
        "AUTH\u{a0}app1\u{a0}secret",
        "AUTH\u{200b}app1\u{2003}secret",
    ] {
        let refused = client.ask(line).await;
        assert!(refused.starts_with("ERROR ") && !refused.contains("secret"), "{line}: {refused}");
    }
}

#[tokio::test]
async fn kill_with_query_behind_the_id_ends_no_session() {
    let server = TestServer::start();
    let [mut client, mut operator] = server.clients().await;
    for line in ["KILL 1 QUERY", "KILL 1 connection", "KILL CONNECTION 1 query"] {
        let refused = operator.ask(line).await;
        assert!(
            refused.starts_with("ERROR SYNTAX usage: KILL [QUERY] id [reason], as in: "),
            "{line}: {refused}"
        );
    }
    assert_eq!(client.ask("PING").await, "PONG");
    assert_eq!(operator.ask("KILL 1 'QUERY'").await, "1");
}
