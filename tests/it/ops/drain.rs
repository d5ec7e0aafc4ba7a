//! A stop is told to clients on every wire.

use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseLock, hold_request::Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::common::{
    PATIENCE, TestServer,
    grpc::{Hold, get_lock, locks},
    http::get,
    mysql::MySql,
};

/// A request on a connection that the client would keep.
async fn keeping(server: &TestServer, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// All that comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("it is closed").unwrap();
    rest.to_lowercase()
}

#[tokio::test]
async fn waiters_and_new_clients_are_told_on_every_wire() {
    let mut server = TestServer::with(&["--drain", "60s"]);
    let (mut holder, mut held) = (Hold::open(server.http).await, Hold::open(server.http).await);
    holder.send(get_lock("nightly", 0)).await;
    assert_eq!(holder.next().await.result, Some(1));

    let [mut line, mut idle] = server.clients().await;
    assert_eq!(idle.ask("PING").await, "PONG");
    line.send("GET_LOCK nightly 600").await;
    let mut mysql = MySql::connect(server.mysql).await;
    mysql.start("SELECT GET_LOCK('nightly', 600)").await;
    held.send(get_lock("nightly", 600_000)).await;
    let http = keeping(&server, "/getLock/nightly?wait=600").await;
    let mut grpc = locks(server.http).await;
    let wish = AcquireRequest { name: "nightly".to_owned(), wait_ms: 600_000, ..AcquireRequest::default() };
    let acquire = tokio::spawn(async move { grpc.acquire(wish).await.unwrap_err().code() });
    server.until_waiting(5).await;
    let channel = Channel::from_shared(format!("http://{}", server.http)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let whole = || HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(whole()).await.unwrap().into_inner().status(), ServingStatus::Serving);

    server.stop();
    assert!(line.rest().await.starts_with("ERROR SHUTDOWN "));
    assert!(idle.rest().await.starts_with("ERROR SHUTDOWN "));
    assert_eq!(mysql.reply().await.code(), 1053);
    assert_eq!(held.last().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(acquire.await.unwrap(), Code::Unavailable);
    let told = rest(http).await;
    assert!(told.starts_with("http/1.1 503 ") && told.contains("\r\nconnection: close\r\n"), "{told}");

    // Who holds a lease comes by HTTP to the end; a new connection finds neither of the other two.
    let ready = rest(keeping(&server, "/readyz").await).await;
    assert!(ready.starts_with("http/1.1 503 ") && ready.ends_with("stopping"), "{ready}");
    assert_eq!(get(server.http, "/healthz").await.0, 200, "it lives");
    assert_eq!(health.check(whole()).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    for closed in [server.addr, server.mysql] {
        assert!(TcpStream::connect(closed).await.is_err());
    }
    holder.send(Command::ReleaseLock(ReleaseLock { name: "nightly".to_owned() })).await;
    assert_eq!(holder.next().await.result, Some(1));
    assert_eq!(holder.last().await.unwrap_err().code(), Code::Unavailable);
    drop(mysql);
    server.stopped().await;
}
