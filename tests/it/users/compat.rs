//! The other services refuse users as their own clients are told of it.

use getlockd::internal::compat::netlocker::proto::net_locker_service_client::NetLockerServiceClient;
use getlockd::internal::compat::netlocker::proto::{NetLockRequest, NetUnlockRequest};
use getlockd::internal::compat::sharelock::proto::LockRequest;
use getlockd::internal::compat::sharelock::proto::share_lock_service_client::ShareLockServiceClient;
use tonic::{Code, Request};

use super::{File, basic, guess, http, with_login};

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

#[tokio::test]
async fn refusal_uses_the_words_of_each_service() {
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
                guess(&server, login).await;
            };
            let (before, after) = shape.split_once("WHY").unwrap_or((shape, ""));
            assert!(status == code && told.starts_with(before) && told.ends_with(after), "{path}: {told}");
            assert!(before == shape || told.contains(why), "{path}: {told}");
        }
    };
    refused("", 401, "login required: send Authorization").await;
    refused(&basic("app1", "secret of app1"), 403, "your user may not lock app2:").await;
    let (_, held) = http(&server, &as_app2, "GET", "/api/locks", "").await;
    assert!(held.contains("\"total\":1"), "{held}");
    refused("Bearer old", 429, "too many wrong passwords").await;
}

/// The key of LockManager's clients is a token that the operator gave a user. All others send what their library makes of
/// a user and a password in the address, which is Basic.
#[tokio::test]
async fn clients_log_in_as_they_do_elsewhere() {
    let file = File::new();
    let server = file.server();
    let get = async |method: &str, path: &str| http(&server, "", method, path, "").await;
    let key = "auth=token%20of%20web";
    let (code, told) =
        get("GET", &format!("/lockmanager/getlock?{key}&lockname=app1:a&lifetime=1209600")).await;
    assert!(code == 200 && told.contains("\"lockacquired\":true"), "{code} {told}");
    let token = told.split("\"sessiontoken\":\"").nth(1).unwrap().split('"').next().unwrap();
    let (code, told) = get("GET", &format!("/lockmanager/status?{key}")).await;
    assert!(code == 200 && told.contains("app1:a"), "{code} {told}");
    let (code, told) = get("GET", &format!("/lockmanager/getlock?{key}&lockname=app2:a")).await;
    assert!(code == 403 && told.contains("may not lock"), "{code} {told}");
    let freed = format!("/lockmanager/releaselock?{key}&lockname=app1:a&token={token}");
    let (code, told) = get("DELETE", &freed).await;
    assert!(code == 200 && told.contains("\"lockreleased\":true"), "{code} {told}");
    for wrong in ["/lockmanager/status?auth=key", "/lockmanager/status", "/api/locks?auth=token%20of%20web"] {
        let (code, told) = get("GET", wrong).await;
        assert!(code == 401 && !told.contains("token of web"), "{wrong}: {code} {told}");
    }
    let login = &format!("{}\r\nx-client-id: x", basic("app1", "secret of app1"));
    for (method, path, body, answer) in [
        ("GET", "/netlocker/lock?key=app1:n&time_lock=9&unique_id=x", "", "true"),
        ("GET", "/netlocker/unlock?key=app1:n&unique_id=x", "", "true"),
        ("POST", "/sharelock/lock", r#"{"key":"app1:s","timeoutMs":0}"#, r#"{"status":1}"#),
        ("POST", "/sharelock/unlock", r#"{"key":"app1:s"}"#, r#"{"status":3}"#),
        ("POST", "/waelson/lock?resource=app1:w&ttl=9s", "", r#""acquired":true"#),
        ("POST", "/api/lock/acquire", r#"{"resourceName":"app1:d","clientId":"web-1"}"#, "Acquired"),
        ("GET", "/lockmanager/getlock?auth=key&lockname=app1:l", "", r#""lockacquired":true"#),
    ] {
        let (code, told) = http(&server, login, method, path, body).await;
        assert!(code == 200 && told.contains(answer), "{path}: {code} {told}");
    }
}

#[tokio::test]
async fn grpc_refusal_is_a_status() {
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
