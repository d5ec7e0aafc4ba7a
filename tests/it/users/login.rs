//! What is shown to be let in.

use getlockd::internal::grpc::proto::AcquireRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use super::{File, acquire, app1, basic, guess, http, mysql};
use crate::common::grpc::locks;
use crate::common::mysql::{MySql, Reply};
use crate::common::{PATIENCE, TestServer};

#[tokio::test]
async fn wrong_password_is_refused_on_line() {
    let (file, mut refused) = (File::new(), vec![]);
    let server = file.server();
    let mut client = server.client().await;
    assert_eq!(client.ask("GET_LOCK app1:a 0").await, "ERROR AUTH log in first: AUTH user password");
    for login in ["AUTH app1 wrong", "AUTH nobody 'secret of app1'", "AUTH app1 ''"] {
        refused.push(client.ask(login).await);
    }
    assert_eq!(refused, ["ERROR AUTH wrong user or password"; 3]);
    assert_eq!(client.ask("LOCKS").await, "ERROR AUTH log in first: AUTH user password");
    assert_eq!(client.ask("PING").await, "PONG");
    assert_eq!(client.ask("AUTH app1 'secret of app1'").await, "1");
    assert_eq!(client.ask("GET_LOCK app1:a 0").await, "1");
    let other = "ERROR AUTH this session is logged in as another user; open another connection";
    assert_eq!(client.ask("AUTH app2 'secret of app2'").await, other);
}

#[tokio::test]
async fn wrong_password_is_refused_on_mysql() {
    let file = File::new();
    let server = file.server();
    let denied = |user: &str, with: &str| Reply::Error {
        code: 1045,
        state: "28000".to_owned(),
        text: format!("Access denied for user '{user}'@'127.0.0.1' (using password: {with})"),
    };
    for (user, password, with) in
        [("app1", "wrong", "YES"), ("nobody", "secret of app1", "YES"), ("web", "token of web", "YES")]
    {
        let by_sha2 = MySql::connect_as(server.mysql, user, password).await;
        assert_eq!(by_sha2.err().unwrap(), denied(user, with));
        if user == "web" {
            continue;
        }
        let natively = MySql::connect_natively(server.mysql, user, password).await;
        assert_eq!(natively.err().unwrap(), denied(user, with));
    }
    let mut nothing = MySql::greeted(server.mysql).await;
    let login = nothing.login("caching_sha2_password", b"", "");
    nothing.send(1, &login).await;
    assert_eq!(nothing.reply().await, denied("root", "NO"));
    let mut client = MySql::connect_natively(server.mysql, "app1", "secret of app1").await.unwrap();
    assert_eq!(client.value("SELECT CURRENT_USER()").await.unwrap(), "app1@%");
    assert_eq!(mysql(&server, "app1").await.value("SELECT GET_LOCK('app1:a', 0)").await.unwrap(), "1");
}

#[tokio::test]
async fn wrong_password_is_refused_on_http() {
    let file = File::new();
    let server = file.server();
    let paths = ["/", "/api/locks", "/getLock/app1:a", "/metrics", "/none"];
    let logins = [&*basic("app1", "wrong"), &basic("nobody", "x"), "Bearer secret of app1", "Basic !"];
    let without = paths.map(|path| ("", path));
    for (login, path) in without.into_iter().chain(logins.map(|login| (login, "/getLock/app1:a"))) {
        let (status, body) = http(&server, login, "GET", path, "").await;
        assert_eq!(status, 401, "{login} {path}: {body}");
        assert!(body.starts_with("{\"success\":false,\"status\":\"Unauthorized\",\"message\":\""), "{body}");
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(http(&server, "", "GET", open, "").await.0, 200);
    }
    assert_eq!(app1(&server, "GET", "/getLock/app1:a", "").await.0, 200);
    assert_eq!(http(&server, "Bearer token of web", "GET", "/getLock/app1:b", "").await.1.len(), 32);
}

#[tokio::test]
async fn old_token_does_not_lock_out_the_new_token() {
    let file = File::new();
    let server = file.server();
    while http(&server, "Bearer old", "GET", "/api/locks", "").await.0 != 429 {
        guess(&server, "Bearer old").await;
    }
    assert_eq!(http(&server, "Bearer token of web", "GET", "/api/locks", "").await.0, 200);
}

#[tokio::test]
async fn wrong_password_is_refused_on_grpc() {
    let file = File::new();
    let server = file.server();
    let mut locks = locks(server.http).await;
    for login in [basic("app1", "wrong"), "Bearer wrong".to_owned()] {
        assert_eq!(acquire(&mut locks, &login, "app1:a").await, Err(Code::Unauthenticated));
    }
    let without = locks.acquire(AcquireRequest::default()).await.unwrap_err();
    assert_eq!(without.code(), Code::Unauthenticated);
    assert_eq!(acquire(&mut locks, &basic("app1", "secret of app1"), "app1:a").await, Ok(()));
    assert_eq!(acquire(&mut locks, "Bearer token of web", "app1:b").await, Ok(()));
}

#[tokio::test]
async fn login_timeout_closes_despite_input() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "100ms"]);
    let mut client = server.client().await;
    assert_eq!(client.ask("PING").await, "PONG");
    assert_eq!(client.line().await, "ERROR AUTH no login within 100ms (--login-time); closing");
    assert_eq!(client.next().await, None);
    // Nor is there more time for one who guesses, and one who takes no answers.
    let mut guesser = server.client().await;
    guesser.send(&["AUTH app1 guess"; 100].join("\n")).await;
    assert_eq!(guesser.line().await, "ERROR AUTH wrong user or password");
    assert_eq!(guesser.line().await, "ERROR AUTH no login within 100ms (--login-time); closing");
    let mut deaf = TcpStream::connect(server.addrs().line).await.unwrap();
    let closed = async { while deaf.write_all(&b"HELP\n".repeat(1000)).await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("an end in time");
}

#[tokio::test]
async fn login_timeout_closes_http_despite_input() {
    let file = File::new();
    let path = file.path();
    let server = TestServer::with(&["--users", path.to_str().unwrap(), "--login-time", "200ms"]);
    let request = |login: &str| {
        format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /api/locks HTTP/1.1\r\nhost: localhost\r\nauthorization: {login}\r\n\r\n"
        )
    };
    let (login, wrong) = (basic("app1", "secret of app1"), basic("app1", "wrong"));
    let mut known = TcpStream::connect(server.http).await.unwrap();
    known.write_all(request(&login).as_bytes()).await.unwrap();
    let mut known_by_grpc = crate::common::grpc::Hold::open_as(server.http, &login).await;

    let closed = async |mut stranger: TcpStream| {
        let read = timeout(PATIENCE, stranger.read_to_end(&mut Vec::new())).await;
        drop(read.expect("an end in time"));
    };
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for said in [&*request(""), &request(&wrong), "GET / HTTP/1.1\r\nhost:", http2] {
        let mut stranger = TcpStream::connect(server.http).await.unwrap();
        stranger.write_all(said.as_bytes()).await.unwrap();
        closed(stranger).await;
    }
    let mut busy = TcpStream::connect(server.http).await.unwrap();
    let ends = async { while busy.write_all(request("").as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, ends).await.expect("an end in time");

    // Those who came before have logged in, and stay.
    known.write_all(request("").as_bytes()).await.unwrap();
    let mut told = String::new();
    while !told.contains("401 Unauthorized") {
        let mut read = [0; 4096];
        let count = timeout(PATIENCE, known.read(&mut read)).await.expect("an answer").unwrap();
        assert!(count > 0, "it was closed: {told}");
        told.push_str(std::str::from_utf8(&read[..count]).unwrap());
    }
    known_by_grpc.send(crate::common::grpc::get_lock("app1:a", 0)).await;
    assert_eq!(known_by_grpc.next().await.result, Some(1));
}

#[tokio::test]
async fn refusal_does_not_repeat_the_password() {
    let file = File::new();
    let server = file.server();
    let mut client = server.client().await;
    for wrong in
        ["AUTH app1 secret) x", "AUTH app1 'secret", "SELECT AUTH('app1' secret)", "auth app1 secret 3"]
    {
        let told = client.ask(wrong).await;
        assert!(told.starts_with("ERROR SYNTAX usage: AUTH") && !told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn without_users_any_login_succeeds() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("AUTH app1 anything").await, "1");
    assert_eq!(client.ask("GET_LOCK a 0").await, "1");
    assert!(client.list("LOCKS").await[0].ends_with(" user=app1"));
}
