//! What a MySQL client tells of its program is shown in every list, on every wire.

use crate::common::{
    TestServer, grpc,
    http::get,
    mysql::{Hello, MySql, Reply},
};
use getlockd::internal::grpc::proto::{ListRequest, SessionsRequest, WhyRequest};
use serde_json::Value;

const ATTRIBUTES: [(&str, &str); 4] =
    [("_client_name", "libmysql"), ("_pid", "4711"), ("program_name", "night\nly"), ("_os", "Linux \"x\"")];

const NOTE: &str = "libmysql, pid 4711";

fn told() -> Hello<'static> {
    Hello { attributes: &ATTRIBUTES, ..Hello::default() }
}

#[tokio::test]
async fn program_name_is_client_and_library_is_note() {
    let server = TestServer::start();
    let mut holder = MySql::log_in(server.mysql, told()).await.unwrap();
    assert_eq!(holder.value("SELECT GET_LOCK('nightly', 0)").await.as_deref(), Some("1"));
    let mut line = server.client().await;
    let written = r" client='night\u{a}ly' user=root note='libmysql, pid 4711'";
    for list in ["SESSIONS", "LOCKS", "WHY nightly"] {
        let rows = line.list(list).await;
        assert!(rows.iter().any(|row| row.contains(written)), "{list}: {rows:?}");
    }
    for path in ["/api/sessions", "/api/locks", "/api/lock/why/nightly"] {
        let (status, text) = get(server.http, path).await;
        let shown: Value = serde_json::from_str(&text).unwrap();
        let row = shown.as_object().unwrap().values().find_map(|rows| rows.as_array()?.first()).unwrap();
        assert_eq!(
            (status, &row["client"], &row["note"]),
            (200, &"night\nly".into(), &NOTE.into()),
            "{path}"
        );
    }
    let mut locks = grpc::locks(server.http).await;
    let client = (Some("night\nly".to_owned()), Some(NOTE.to_owned()));
    let rows = locks.list(ListRequest::default()).await.unwrap().into_inner().locks;
    assert_eq!((rows[0].client.clone(), rows[0].note.clone()), client);
    let rows = locks.sessions(SessionsRequest::default()).await.unwrap().into_inner().sessions;
    assert_eq!((rows[0].client.clone(), rows[0].note.clone()), client);
    let rows = locks.why(WhyRequest { name: "nightly".to_owned() }).await.unwrap().into_inner().steps;
    let lock = rows[0].hold.clone().unwrap();
    assert_eq!((lock.client, lock.note), client);
}

#[tokio::test]
async fn kept_on_reset_and_dropped_on_change_user() {
    let server = TestServer::start();
    let mut client = MySql::log_in(server.mysql, told()).await.unwrap();
    let mut line = server.client().await;
    assert!(matches!(client.command(b"\x1f").await, Reply::Ok { .. }));
    assert!(line.list("SESSIONS").await[0].contains(" note='libmysql, pid 4711'"));
    client
        .become_again(Hello { attributes: &[("program_name", "other")], ..Hello::default() })
        .await
        .unwrap();
    let row = line.list("SESSIONS").await.remove(0);
    assert!(row.contains(" client=other ") && !row.contains("note="), "{row}");
    client.become_again(Hello::default()).await.unwrap();
    let row = line.list("SESSIONS").await.remove(0);
    assert!(!row.contains("client=") && !row.contains("note="), "{row}");
}

#[tokio::test]
async fn charged_to_the_connection() {
    let server = TestServer::start();
    let long = "x".repeat(200);
    let attributes = [("program_name", &*long), ("_os", &long)];
    let mut client =
        MySql::log_in(server.mysql, Hello { attributes: &attributes, ..Hello::default() }).await.unwrap();
    let mut line = server.client().await;
    let row = line.list("SESSIONS").await.remove(0);
    assert!(row.contains(" memory=412 "), "{row}");
    client.become_again(Hello::default()).await.unwrap();
    assert!(
        line.list("SESSIONS").await[0].contains(" memory=8 "),
        "what is not there any more costs nothing"
    );
}
