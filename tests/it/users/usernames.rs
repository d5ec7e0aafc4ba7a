//! What calls itself something else.

use getlockd::internal::grpc::proto::{ListRequest, SessionsRequest};

use super::{File, app1, basic, line, mysql, with_login};
use crate::common::TestServer;
use crate::common::grpc::locks;

/// app1's lease, which says that it is ops.
async fn pretender(server: &TestServer) {
    let body = "{\"resourceName\":\"app1:a\",\"clientId\":\"ops\"}";
    assert_eq!(app1(server, "POST", "/api/lock/acquire", body).await.0, 200);
}

#[tokio::test]
async fn line_shows_user_beside_other_client_name() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let mut app1 = line(&server, "app1").await;
    for list in ["LOCKS", "SESSIONS"] {
        let told = app1.list(list).await;
        assert!(told[0].contains(" client=ops user=app1 "), "{told:?}");
    }
    // A session that says nothing of itself is shown by its user alone.
    assert!(app1.list("SESSIONS").await[1].ends_with(" user=app1"));
}

#[tokio::test]
async fn mysql_shows_user_beside_other_client_name() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let mut by_mysql = mysql(&server, "app1").await;
    let who = "SELECT COUNT(*) FROM information_schema.processlist WHERE USER = 'ops'";
    assert_eq!(by_mysql.value(who).await.unwrap(), "0");
}

#[tokio::test]
async fn http_shows_user_beside_other_client_name() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    for path in ["/api/locks", "/api/lock/status/app1:a", "/api/lock/why/app1:a", "/api/sessions"] {
        let (_, told) = app1(&server, "GET", path, "").await;
        assert!(told.contains("\"client\":\"ops\",\"user\":\"app1\","), "{path}: {told}");
        assert_eq!(told.matches("\"client\":").count(), 1, "{path}: {told}");
    }
}

#[tokio::test]
async fn grpc_shows_user_beside_other_client_name() {
    let file = File::new();
    let server = file.server();
    pretender(&server).await;
    let (mut locks, login) = (locks(server.http).await, basic("app1", "secret of app1"));
    let list = locks.list(with_login(ListRequest::default(), &login)).await.unwrap().into_inner().locks;
    let sessions =
        locks.sessions(with_login(SessionsRequest::default(), &login)).await.unwrap().into_inner().sessions;
    let (lock, lease, own) = (&list[0], &sessions[0], &sessions[1]);
    assert_eq!((lock.client.as_deref(), lock.user.as_deref()), (Some("ops"), Some("app1")));
    assert_eq!((lease.client.as_deref(), lease.user.as_deref()), (Some("ops"), Some("app1")));
    assert_eq!((own.client.as_deref(), own.user.as_deref()), (None, Some("app1")));
}
