//! `--host` as a URL.

use std::fs;

use getlockd::internal::users::{NewEntry, entry};

use crate::{
    TestServer,
    common::authority::{Authority, text},
    getlock, output,
};

#[tokio::test]
async fn url_names_user_and_tls() {
    let authority = Authority::new();
    let file = |name: &str| authority.folder.path().join(name);
    let wanted = NewEntry { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..NewEntry::default() };
    fs::write(file("users.toml"), entry(&wanted, b"sesame", false).unwrap()).unwrap();
    let users = file("users.toml");
    let server = TestServer::with(&authority.sign("server").flags(&["--users", text(&users)]));
    let ca = authority.ca();
    let mut by_url = getlock(format!("getlocks://app@{}", server.addr), &["-n", "app:x", "echo", "in"]);
    by_url.env("GETLOCK_PASSWORD", "sesame").env("GETLOCK_TLS_CA", &ca);
    assert_eq!(output(by_url).await, (0, "in\n".to_owned(), String::new()));
}

#[tokio::test]
async fn password_in_a_url_is_refused_and_not_repeated() {
    let (code, out, err) = output(getlock("getlock://app:sesame@127.0.0.1", &["ls"])).await;
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(err.contains("GETLOCK_PASSWORD") && !err.contains("sesame"), "{err}");
}
