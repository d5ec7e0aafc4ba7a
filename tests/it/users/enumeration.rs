//! Nothing tells a name that nobody has from that of a user: not what is said, not when, not MySQL's method.

use std::{collections::BTreeSet, time::Duration};

use getlockd::internal::users::{Denied, NewEntry, Proof, Users, entry};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::{File, acquire, basic, http, token, user};
use crate::common::TestServer;
use crate::common::grpc::locks;
use crate::common::mysql::MySql;

/// A user with both of MySQL's methods, one with the newer alone, one with a token alone, and nobody.
const NAMES: [&str; 4] = ["app1", "sha2", "web", "nobody"];

const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";

fn file() -> File {
    let file = File::new();
    let wanted = NewEntry { name: "sha2".to_owned(), ..NewEntry::default() };
    let sha2 = entry(&wanted, b"secret of sha2", false).unwrap();
    file.write(&[user("app1", &[], &[], false), sha2, token()]);
    file
}

/// What one of this name and a wrong password is told on each wire, and after how long.
async fn told(server: &TestServer, name: &str) -> Vec<(&'static str, String, Duration)> {
    let mut told = vec![];
    let mut start = Instant::now();
    let mut tell = |wire, answer: String| {
        told.push((wire, answer.replace(name, "NAME"), start.elapsed()));
        start = Instant::now();
    };
    tell("line", server.client().await.ask(&format!("AUTH {name} wrong")).await);
    let (status, body) = http(server, &basic(name, "wrong"), "GET", "/api/locks", "").await;
    tell("http", format!("{status} {body}"));
    let refused = acquire(&mut locks(server.http).await, &basic(name, "wrong"), "a").await.unwrap_err();
    assert_eq!(refused, Code::Unauthenticated);
    tell("grpc", format!("{refused:?}"));
    let refused = MySql::connect_as(server.mysql, name, "wrong").await.err().unwrap();
    tell("mysql, by its proof", format!("{refused:?}"));
    let (mut client, method) = MySql::asked(server.mysql, name).await;
    client.send(3, if method == NATIVE { &[1; 20][..] } else { &[1; 32] }).await;
    tell("mysql, asked for a proof", format!("{:?}", client.reply().await));
    told
}

#[tokio::test]
async fn refusal_of_unknown_user_is_the_same_on_every_wire() {
    let mut asked = JoinSet::new();
    for name in NAMES {
        // Each has a server, as delays grow with what the address has shown before.
        asked.spawn(async move {
            let file = file();
            (name, told(&file.server(), name).await)
        });
    }
    let mut answers = BTreeSet::new();
    for (name, told) in asked.join_all().await {
        for (wire, answer, time) in &told {
            println!("| {wire} | {name} | {:.1} ms | {answer} |", time.as_secs_f64() * 1000.0);
        }
        answers.insert(told.into_iter().map(|(_, answer, _)| answer).collect::<Vec<_>>());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn refusal_of_unknown_user_takes_as_long() {
    let users = Users::load(&file().path()).unwrap();
    let mut answers = BTreeSet::new();
    for (number, name) in (1..).zip(NAMES) {
        let wrong = || users.log_in([192, 0, 2, number].into(), name, &Proof::Password(b"wrong"));
        let (mut delays, mut looked_at) = (vec![], 0);
        for _ in 0..8 {
            let start = Instant::now();
            assert_eq!(wrong().await.unwrap_err(), Denied::Wrong);
            delays.push(start.elapsed().as_millis());
        }
        for _ in 0..100 {
            // One that is looked at is answered later.
            looked_at += usize::from(timeout(Duration::ZERO, wrong()).await.is_err());
        }
        println!("| {name} | {delays:?} ms | {looked_at} of 100 at a time |");
        answers.insert((delays, looked_at));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// By which method MySQL clients are asked that say names that nobody has.
async fn methods(server: &TestServer) -> Vec<String> {
    let mut methods = vec![];
    for number in 0..40 {
        methods.push(MySql::asked(server.mysql, &format!("nobody{number}")).await.1);
    }
    methods
}

#[tokio::test]
async fn auth_method_of_unknown_users_is_mixed_and_stable() {
    let file = file();
    let server = file.server();
    assert_eq!(MySql::asked(server.mysql, "app1").await.1, NATIVE);
    assert_eq!(MySql::asked(server.mysql, "sha2").await.1, SHA2);
    let before = methods(&server).await;
    let all: BTreeSet<_> = before.iter().map(String::as_str).collect();
    assert_eq!(all, BTreeSet::from([NATIVE, SHA2]));
    assert_eq!(methods(&file.server()).await, before, "after a restart");
    let sha2 = NewEntry { name: "new".to_owned(), ..NewEntry::default() };
    let (native, sha2) = (user("app2", &[], &[], false), entry(&sha2, b"secret", false).unwrap());
    file.write(&[native, sha2]);
    assert_eq!(server.reload(), Ok(()));
    assert_eq!(methods(&server).await, before, "with other users, of whom as many have each method");
    // Where all have the same, so have strangers.
    file.write(&[user("app2", &[], &[], false)]);
    assert_eq!(server.reload(), Ok(()));
    assert_eq!(methods(&server).await, [NATIVE; 40]);
}
