//! Guesses at passwords.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use getlockd::internal::users::{NewEntry, WRONG_BY_NAME, WRONG_BY_NAME_AND_ADDRESS, entry};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use super::attacked::Attacked;
use crate::common::{Client, mysql::MySql, program::next_with};

/// Of those that only the release build has time for.
const ADDRESSES: u32 = if cfg!(debug_assertions) { 300 } else { 10_100 };

const TOO_MANY: &str = "ERROR AUTH too many wrong passwords";

/// Says this line, from an address of its own.
async fn says(line: SocketAddr, from: u32, said: &str) -> BufReader<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    let mut stream = BufReader::new(socket.connect(line).await.unwrap());
    stream.write_all(format!("{said}\n").as_bytes()).await.unwrap();
    stream
}

async fn heard(mut stream: BufReader<TcpStream>) -> String {
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    answer
}

/// So many guesses at once: how many of them are looked at, no more than may be in the time that it took, and what the
/// others are told.
async fn guesses(
    line: SocketAddr,
    name: &str,
    from: impl Fn(u32) -> u32,
    (at_once, a_second): (u32, u32),
) -> String {
    let begin = Instant::now();
    let mut guesses = vec![];
    for number in 0..300 {
        guesses.push(says(line, from(number), &format!("AUTH {name} guess{number}")).await);
    }
    let mut answers = vec![];
    for guess in guesses {
        answers.push(heard(guess).await);
    }
    let (refused, looked_at): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.starts_with(TOO_MANY));
    let most = u64::from(at_once) + u64::from(a_second) * (begin.elapsed().as_secs() + 1);
    assert!(looked_at.len() as u64 <= most, "{} of {most}", looked_at.len());
    assert!(looked_at.iter().all(|answer| answer.starts_with("ERROR AUTH wrong")), "{looked_at:?}");
    refused.last().unwrap().trim_end().to_owned()
}

/// A server with the neighbour and somebody else who may end sessions.
async fn with_users() -> (TempDir, Attacked) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let user = |name: &str| {
        let all = vec!["*".to_owned()];
        let wanted =
            NewEntry { name: name.to_owned(), lock: all.clone(), see: all, kill: true, native: true };
        entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
    };
    fs::write(&path, user("neighbour") + &user("app1")).unwrap();
    let server = Attacked::start(&["--users", path.to_str().unwrap()]).await;
    (dir, server)
}

#[tokio::test]
async fn few_guesses_are_checked_and_known_address_logs_in() {
    let (_dir, mut server) = with_users().await;
    let line = server.at.line;
    let (many, own, fresh) = (0x7F01_0000, 0x7F02_0001, 0x7F03_0001);
    assert_eq!(heard(says(line, own, "AUTH app1 'secret of app1'").await).await, "1\n");

    for number in 0..ADDRESSES {
        drop(says(line, many + number, &format!("AUTH name{number} wrong")).await);
    }
    let told = guesses(line, "app1", |_| fresh, WRONG_BY_NAME_AND_ADDRESS).await;
    server.shows(&format!("login: 300 guesses of an address, after {ADDRESSES} addresses with one"), &told);

    let told = guesses(line, "app1", |number| many + number, WRONG_BY_NAME).await;
    server.shows("login: 300 guesses at a user by 300 addresses", &told);

    let guessing = guesses(line, "app1", |number| many + 1_000 + number, WRONG_BY_NAME);
    let (_, answer) = tokio::join!(guessing, async {
        let mut answers = vec![];
        for _ in 0..20 {
            answers.push(heard(says(line, own, "AUTH app1 'secret of app1'").await).await);
        }
        answers
    });
    assert_eq!(answer, ["1\n"; 20]);
    server.ends();
}

/// Guesses, and is not told yet.
async fn guesser(server: &mut Attacked) -> MySql {
    let (mut guesser, _) = MySql::asked(server.at.mysql, "app1").await;
    guesser.send(3, &[7; 20]).await;
    next_with(server.program.log.as_mut().unwrap(), "login refused");
    guesser
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_refusal_ends_with_kill_and_disconnect() {
    let (_dir, mut server) = with_users().await;
    let mut operator = Client::connect(server.at.line).await;
    assert_eq!(operator.ask("AUTH app1 'secret of app1'").await, "1");
    // The next is told after seconds.
    let mut early = vec![];
    for _ in 0..5 {
        early.push(guesser(&mut server).await);
    }
    let mut killed = guesser(&mut server).await;
    assert_eq!(operator.ask(&format!("KILL {}", killed.id)).await, "1");
    assert_eq!(killed.reply().await.code(), 1317, "not that the password is wrong");
    drop(early);

    let mut change = MySql::connect_as(server.at.mysql, "app1", "secret of app1").await.unwrap();
    let id = change.id;
    let changes = tokio::spawn(async move { change.change_user("app1", "wrong").await });
    next_with(server.program.log.as_mut().unwrap(), "login refused");
    assert_eq!(operator.ask(&format!("KILL {id}")).await, "1");
    assert_eq!(changes.await.unwrap().unwrap_err().code(), 1317);

    let left = guesser(&mut server).await.id;
    let row = format!("SESSION session={left} ");
    while operator.list("SESSIONS").await.iter().any(|session| session.starts_with(&row)) {}
    server.ends();
}
