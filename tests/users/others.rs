//! The other services refuse users as their own clients are told of it.

use getlockd::others::netlocker::proto::net_locker_service_client::NetLockerServiceClient;
use getlockd::others::netlocker::proto::{NetLockRequest, NetUnlockRequest};
use getlockd::others::sharelock::proto::LockRequest;
use getlockd::others::sharelock::proto::share_lock_service_client::ShareLockServiceClient;
use tonic::{Code, Request};

use crate::common::{TestServer, http::Request as Http};
use crate::{File, basic, http, with_login};

/// Each thing that can be asked of the other services about a lock of app2's, and how that service tells why not.
fn asked_of_others(token: &str) -> [(&'static str, String, &'static str, &'static str); 13] {
    let of = |what: &str, name: &str| format!("{what}?resource={name}&ttl=9s&token={token}");
    let body = "{\"key\":\"app2:lease\",\"timeoutMs\":0}";
    let (text, status, error) = ("WHY", "{\"status\":2}", "{\"error\":\"WHY\"}");
    [
        ("GET", "/netlocker/lock?key=app2:b&time_lock=9&unique_id=x".to_owned(), "", text),
        ("GET", "/netlocker/unlock?key=app2:lease&unique_id=x".to_owned(), "", text),
        ("POST", "/sharelock/lock".to_owned(), body, status),
        ("POST", "/sharelock/unlock".to_owned(), body, status),
        ("POST", of("/waelson/lock", "app2:b"), "", error),
        ("POST", of("/waelson/unlock", "app2:lease"), "", error),
        ("POST", of("/waelson/refresh", "app2:lease"), "", error),
        ("GET", of("/waelson/ttl", "app2:lease"), "", error),
        ("GET", "/lockmanager/getLock/app2:b".to_owned(), "", error),
        ("GET", "/lockmanager/getLock/1/app2:b/9".to_owned(), "", error),
        ("GET", format!("/lockmanager/releaseLock/app2:lease/{token}"), "", error),
        ("GET", "/lockmanager/getlock?lockname=app2:b".to_owned(), "", error),
        ("DELETE", format!("/lockmanager/releaselock?lockname=app2:lease&token={token}"), "", error),
    ]
}

/// More wrong tokens than are answered late at a time, by one who does not wait for the answers.
async fn guess(server: &TestServer) {
    for _ in 0..40 {
        drop(Http::send_as(server.http, "Bearer old", "GET", "/api/locks", "").await);
    }
}

#[tokio::test]
async fn other_services_refuse_in_their_own_words() {
    let file = File::new();
    let server = file.server();
    let as_app2 = basic("app2", "secret of app2");
    let (_, token) = http(&server, &as_app2, "GET", "/getLock/app2:lease", "").await;
    let refused = async |login: &str, code: u16, why: &str| {
        let login = &format!("{login}\r\nx-client-id: x");
        for (method, path, body, shape) in asked_of_others(&token) {
            let (status, told) = loop {
                let (status, told) = http(&server, login, method, &path, body).await;
                if code != 429 || status == 429 {
                    break (status, told);
                }
                // It was among those that are answered late, and by now few wait for that.
                guess(&server).await;
            };
            let (before, after) = shape.split_once("WHY").unwrap_or((shape, ""));
            assert!(status == code && told.starts_with(before) && told.ends_with(after), "{path}: {told}");
            assert!(before == shape || told.contains(why), "{path}: {told}");
        }
    };
    refused("", 401, "log in: Authorization").await;
    refused(&basic("app1", "secret of app1"), 403, "your user may not lock app2:").await;
    let (_, held) = http(&server, &as_app2, "GET", "/api/locks", "").await;
    assert!(held.contains("\"total\":1"), "{held}");
    guess(&server).await;
    refused("Bearer old", 429, "too many wrong passwords").await;
}

#[tokio::test]
async fn other_services_refuse_by_grpc() {
    let file = File::new();
    let server = file.server();
    let channel = crate::common::grpc::connected(server.http).await;
    let login = basic("app1", "secret of app1");
    let mut netlocker = NetLockerServiceClient::new(channel.clone());
    let mut sharelock = ShareLockServiceClient::new(channel);
    let key = || "app2:a".to_owned();
    let wanted = NetLockRequest { key: key(), time_lock: 9, unique_id: None };
    let code = netlocker.try_and_lock(with_login(wanted, &login)).await.unwrap_err().code();
    assert_eq!(code, Code::PermissionDenied);
    let held = NetUnlockRequest { key: key(), unique_id: None };
    let code = netlocker.unlock(with_login(held, &login)).await.unwrap_err().code();
    assert_eq!(code, Code::PermissionDenied);
    let as_x = |mut request: Request<_>| {
        request.metadata_mut().insert("x-client-id", "x".parse().unwrap());
        request
    };
    let wanted = with_login(LockRequest { key: key(), timeout_ms: 0 }, &login);
    assert_eq!(sharelock.lock(as_x(wanted)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(sharelock.lock(LockRequest::default()).await.unwrap_err().code(), Code::Unauthenticated);
}
