//! Guesses at passwords.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use getlockd::user::{WRONG_BY_NAME, WRONG_BY_NAME_AND_ADDRESS, Wanted, entry};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use crate::attacked::Attacked;

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

#[tokio::test]
async fn few_guesses_are_looked_at_and_who_was_there_before_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let user = |name: &str| {
        let wanted = Wanted { name: name.to_owned(), lock: vec!["*".to_owned()], ..Wanted::default() };
        entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
    };
    fs::write(&path, user("neighbour") + &user("app1")).unwrap();
    let mut server = Attacked::start(&["--users", path.to_str().unwrap()]).await;
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
