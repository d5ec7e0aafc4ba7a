//! Users: who comes in, and what each may lock, see and end, on every wire.

mod compat;
mod enumeration;
mod file;
mod login;
mod permissions;
mod usernames;

use std::fs;
use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};
use getlockd::internal::grpc::proto::AcquireRequest;
use getlockd::internal::grpc::proto::locks_client::LocksClient;
use getlockd::internal::users::{NewEntry, entry};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::common::http::Request as Http;
use crate::common::mysql::MySql;
use crate::common::{Client, TestServer};

/// A file of users: app1 and app2 keep to their part, ops sees all and may end all.
struct File {
    dir: TempDir,
}

const APP1: [&str; 1] = ["app1:"];
const APP2: [&str; 1] = ["app2:"];

fn user(name: &str, lock: &[&str], see: &[&str], kill: bool) -> String {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let wanted = NewEntry { name: name.to_owned(), lock: owned(lock), see: owned(see), kill, native: true };
    entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
}

impl File {
    fn new() -> Self {
        let file = Self { dir: tempfile::tempdir().unwrap() };
        let (app1, app2) = (user("app1", &APP1, &[], true), user("app2", &APP2, &["shared:"], false));
        file.write(&[app1, app2, user("ops", &[], &["*"], true), token()]);
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("users.toml")
    }

    fn write(&self, entries: &[String]) {
        fs::write(self.path(), entries.concat()).unwrap();
    }

    fn server(&self) -> TestServer {
        TestServer::with(&["--users", self.path().to_str().unwrap()])
    }
}

/// Of a user who has no password.
fn token() -> String {
    let wanted = NewEntry { name: "web".to_owned(), lock: vec!["app1:".to_owned()], ..NewEntry::default() };
    entry(&wanted, b"token of web", true).unwrap()
}

async fn line(server: &TestServer, name: &str) -> Client {
    let mut client = server.client().await;
    assert_eq!(client.ask(&format!("AUTH {name} 'secret of {name}'")).await, "1");
    client
}

async fn mysql(server: &TestServer, name: &str) -> MySql {
    MySql::connect_as(server.mysql, name, &format!("secret of {name}")).await.unwrap()
}

pub fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

async fn http(server: &TestServer, login: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    Http::send_as(server.http, login, method, path, body).await.reply().await
}

/// More guesses than are looked at, of one that does not stay for the answers.
async fn guess(server: &TestServer, login: &str) {
    for _ in 0..40 {
        drop(Http::send_as(server.http, login, "GET", "/api/locks", "").await);
    }
}

/// As app1 by HTTP.
async fn app1(server: &TestServer, method: &str, path: &str, body: &str) -> (u16, String) {
    http(server, &basic("app1", "secret of app1"), method, path, body).await
}

fn with_login<T>(message: T, login: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", login.parse().unwrap());
    request
}

async fn acquire(locks: &mut LocksClient<Channel>, login: &str, name: &str) -> Result<(), Code> {
    let wanted = AcquireRequest { name: name.to_owned(), ..AcquireRequest::default() };
    locks.acquire(with_login(wanted, login)).await.map(drop).map_err(|status| status.code())
}
