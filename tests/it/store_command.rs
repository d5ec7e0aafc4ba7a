//! `getlockd store`: of a server that runs, and of the file of one that is stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::prelude::{BASE64_STANDARD, Engine};
use getlockd::internal::users::{NewEntry, entry};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    common::{
        PATIENCE, TestServer,
        authority::Authority,
        group::Group,
        http::{Request, get, post},
        program::{PROGRAM, Program},
    },
    markdown::{blocks, read},
};

/// The file of a store, in a folder of its own.
struct StoreFile {
    folder: TempDir,
}

impl StoreFile {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("leases")
    }

    fn server(&self, flags: &[&str]) -> TestServer {
        let path = self.path().display().to_string();
        TestServer::with(&[&["--store", &path, "--store-anyway"], flags].concat())
    }

    /// A server to be killed, with two leases.
    async fn program(&self) -> Program {
        let path = self.path().display().to_string();
        let (program, _, http) =
            Program::on_all_wires(&["--store", &path, "--store-anyway", "--drain", "0s"]);
        for name in ["nightly", "report"] {
            let lease = json!({ "resourceName": name, "ttlMs": 3_600_000, "clientId": "web-1" });
            assert_eq!(post(http, "/api/lock/acquire", &lease).await.0, 200);
        }
        program
    }

    async fn stopped(&self, signal: &str) {
        let program = self.program().await;
        program.signal(signal);
        program.wait();
    }

    /// What `getlockd store` says of it.
    async fn contents(&self) -> Value {
        serde_json::from_str(&said(&["--json", "--file", self.path().to_str().unwrap()]).await.unwrap())
            .unwrap()
    }
}

/// What `getlockd store` prints, or its error.
async fn said(args: &[&str]) -> Result<String, String> {
    run(Command::new(PROGRAM).arg("store").args(args)).await
}

async fn run(command: &mut Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = timeout(PATIENCE, Group::spawn(command).output()).await.expect("an end in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn url(server: &TestServer) -> String {
    format!("http://{}", server.http)
}

/// The names of the locks of leases.
fn names(contents: &Value) -> Vec<&str> {
    contents["leases"].as_array().unwrap().iter().map(|lease| lease["name"].as_str().unwrap()).collect()
}

fn user(name: &str, see: &[&str]) -> String {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let wanted = NewEntry { name: name.to_owned(), lock: owned(see), native: false, ..NewEntry::default() };
    entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
}

async fn said_to(name: &str, server: &TestServer) -> Value {
    let mut command = Command::new(PROGRAM);
    command.args(["store", "--json", "--user", name, &url(server)]);
    let text = run(command.env("GETLOCK_PASSWORD", format!("secret of {name}"))).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn users_see_the_leases_that_they_may_see() {
    let file = StoreFile::new();
    let users = file.folder.path().join("users.toml");
    fs::write(&users, [user("app1", &["app1:"]), user("ops", &["*"])].concat()).unwrap();
    let server = file.server(&["--users", users.to_str().unwrap()]);
    let login = format!("Basic {}", BASE64_STANDARD.encode("ops:secret of ops"));
    let mut tokens = Vec::new();
    for name in ["app1:a", "app2:b"] {
        let lease = json!({ "resourceName": name, "ttlMs": 3_600_000, "note": "back up" }).to_string();
        let reply = Request::send_as(server.http, &login, "POST", "/api/lock/acquire", &lease).await;
        let reply: Value = serde_json::from_str(&reply.reply().await.1).unwrap();
        tokens.push(reply["lockToken"].as_str().unwrap().to_owned());
    }

    let all = said_to("ops", &server).await;
    assert_eq!(
        (names(&all), &all["total"], &all["writable"]),
        (vec!["app1:a", "app2:b"], &json!(2), &json!(true))
    );
    let lease = &all["leases"][0];
    assert_eq!(
        (&lease["user"], &lease["note"], &lease["ttlMs"]),
        (&json!("ops"), &json!("back up"), &json!(3_600_000))
    );
    assert!(tokens.iter().all(|token| !all.to_string().contains(token)));
    let own = said_to("app1", &server).await;
    assert_eq!((names(&own), &own["total"]), (vec!["app1:a"], &json!(1)));

    let error = said(&[&url(&server)]).await.unwrap_err();
    assert!(error.contains("is wrong; use --user NAME"), "{error}");
    let error = said(&["--user", "ops", &url(&server)]).await.unwrap_err();
    assert_eq!(error, "getlockd: the user's password is missing: GETLOCK_PASSWORD or --password-file\n");
}

#[tokio::test]
async fn server_without_a_store_names_the_flag_for_it() {
    let server = TestServer::start();
    let error = said(&[&url(&server)]).await.unwrap_err();
    assert_eq!(
        error,
        "getlockd: this server has no store: its leases end with it; start it with --store FILE\n"
    );
    let error = said(&[&format!("http://{}", server.addr)]).await.unwrap_err();
    assert!(error.contains("is not the HTTP port of a getlockd server"), "{error}");
}

#[tokio::test]
async fn leases_of_all_pages_are_shown_as_a_whole_list() {
    const LEASES: usize = 501;
    let file = StoreFile::new();
    let server = file.server(&[]);
    let http = server.http;
    let names_taken: Vec<_> = (0..LEASES).map(|at| format!("{at:03}/ü")).collect();
    for some in names_taken.chunks(50) {
        let acquire = some.iter().map(|name| {
            let lease = json!({ "resourceName": name, "ttlMs": 3_600_000 });
            tokio::spawn(async move { post(http, "/api/lock/acquire", &lease).await.0 })
        });
        for acquired in acquire.collect::<Vec<_>>() {
            assert_eq!(acquired.await.unwrap(), 200);
        }
    }
    let all: Value = serde_json::from_str(&said(&["--json", &url(&server)]).await.unwrap()).unwrap();
    assert_eq!(
        (names(&all), all["total"].as_u64()),
        (names_taken.iter().map(|name| &**name).collect(), Some(501))
    );

    let (status, page) = get(http, "/api/store?limit=2").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((status, names(&page), &page["total"]), (200, vec!["000/ü", "001/ü"], &json!(LEASES)));
    assert_eq!(get(http, "/api/store?limit=0").await.0, 400);
}

#[tokio::test]
async fn server_with_tls_is_asked_over_https() {
    let (file, authority) = (StoreFile::new(), Authority::new());
    let files = authority.sign("server");
    let [cert, key] = [&files.cert, &files.key].map(|file| file.to_str().unwrap());
    let server = file.server(&["--tls-cert", cert, "--tls-key", key]);
    let https = url(&server).replace("http:", "https:");
    let told = said(&["--tls-ca", authority.ca().to_str().unwrap(), &https]).await.unwrap();
    assert!(told.starts_with("leases: 0\n"), "{told}");
    for (args, hint) in [
        (vec![https.as_str()], "https needs --tls-ca FILE"),
        (vec![&*url(&server)], "requires TLS; ask https://HOST:PORT"),
        (vec!["--tls-ca", key, &https], "contains no certificate"),
    ] {
        let error = said(&args).await.unwrap_err();
        assert!(error.contains(hint) && error.lines().count() == 1, "{error}");
    }
}

#[tokio::test]
async fn file_after_a_clean_stop_has_its_leases_and_no_grace() {
    let file = StoreFile::new();
    file.stopped("-TERM").await;
    let before = fs::read(file.path()).unwrap();
    let contents = file.contents().await;
    assert_eq!(names(&contents), ["nightly", "report"]);
    assert_eq!(
        [&contents["clean"], &contents["graceMs"], &contents["format"]],
        [&json!(true), &json!(0), &json!(1)]
    );
    assert_eq!(contents["bytes"], before.len());
    let [first, second] = [0, 1].map(|at| contents["leases"][at]["fencingToken"].as_u64().unwrap());
    assert!(first < second && contents["fencingTokenFloor"] == second + 1);
    assert!(fs::read(file.path()).unwrap() == before, "the file is as it was");

    let told = said(&["--file", file.path().to_str().unwrap()]).await.unwrap();
    assert!(told.starts_with("NAME     MODE       FENCING TOKEN "), "{told}");
    assert!(told.contains("\nthe last server stopped: in good order\nthe next one waits: 0s\n"), "{told}");
}

#[tokio::test]
async fn file_after_a_crash_is_readable_and_stays_as_it_is() {
    let file = StoreFile::new();
    file.stopped("-KILL").await;
    let before = fs::read(file.path()).unwrap();
    let contents = file.contents().await;
    assert_eq!(names(&contents), ["nightly", "report"]);
    assert_eq!([&contents["clean"], &contents["graceMs"]], [&json!(false), &json!(1000)]);
    assert!(fs::read(file.path()).unwrap() == before, "the next start finds the crash");
}

#[tokio::test]
async fn compacted_file_is_smaller_and_its_leases_are_restored() {
    let file = StoreFile::new();
    file.stopped("-KILL").await;
    let before = file.contents().await;
    let path = file.path().display().to_string();
    let told = said(&["--file", &path, "--compact"]).await.unwrap();
    let after = file.contents().await;
    assert!(after["bytes"].as_u64() < before["bytes"].as_u64(), "{told}");
    assert_eq!(told, format!("{path}: {} bytes, before {}\n", after["bytes"], before["bytes"]));
    for same in ["leases", "graceMs", "clean", "fencingTokenFloor", "sessionFloor"] {
        let rows = |contents: &Value| without_moments(&contents[same]);
        assert_eq!(rows(&after), rows(&before), "{same}");
    }

    let server = file.server(&[]);
    server.until(|stats| stats.table.locks == 2).await;
    let live: Value = serde_json::from_str(&said(&["--json", &url(&server)]).await.unwrap()).unwrap();
    assert_eq!(without_moments(&live["leases"]), without_moments(&before["leases"]));
}

/// When a lease ends is computed from two clocks at each look.
fn without_moments(value: &Value) -> Value {
    let mut value = value.clone();
    for lease in value.as_array_mut().into_iter().flatten() {
        lease.as_object_mut().unwrap().remove("expiresAt");
    }
    value
}

#[tokio::test]
async fn file_in_use_names_the_way_to_ask_the_server() {
    let file = StoreFile::new();
    let _server = file.program().await;
    let path = file.path().display().to_string();
    for compact in [&[][..], &["--compact"]] {
        let error = said(&[&["--file", &path], compact].concat()).await.unwrap_err();
        let told = format!(
            "getlockd: {path} is in use by a running getlockd; ask that one: getlockd store http://HOST:PORT\n"
        );
        assert_eq!(error, told);
    }
}

#[tokio::test]
async fn other_files_are_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign");
    fs::write(&foreign, "[users]\n").unwrap();
    let missing = folder.path().join("missing");
    for (path, hint) in [
        (&*foreign, "is not a lease store of getlockd"),
        (&missing, "there is no lease store"),
        (Path::new("/dev/zero"), "is not a regular file"),
        (folder.path(), "is not a regular file"),
    ] {
        for compact in [&[][..], &["--compact"]] {
            let error = said(&[&["--file", path.to_str().unwrap()], compact].concat()).await.unwrap_err();
            assert!(error.contains(hint) && error.lines().count() == 1, "{error}");
        }
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "[users]\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made beside it");
}

#[tokio::test]
async fn example_of_the_page_is_what_is_shown() {
    let page = read("docs/operations.md");
    let shown = blocks(&page, "console").into_iter().map(|(_, lines)| lines);
    let shown = shown.into_iter().find(|lines| lines[0].starts_with("$ getlockd store ")).unwrap();
    let file = StoreFile::new();
    let server = file.server(&[]);
    let lease = json!({ "resourceName": "nightly", "ttlMs": 3_600_000, "clientId": "web-1" });
    assert_eq!(post(server.http, "/api/lock/acquire", &lease).await.0, 200);
    let told = said(&[&url(&server)]).await.unwrap();
    assert_eq!(without_numbers(&told), without_numbers(&(shown[1..].join("\n") + "\n")));
}

/// The digits differ from run to run.
fn without_numbers(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "0")
}
