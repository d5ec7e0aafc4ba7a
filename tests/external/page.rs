//! The live page: in a real browser, and what it is made of.
//!
//! Without a browser it is skipped; with `DRIVERS=all` in the environment that is a failure. `.ci/run`
//! installs Debian's chromium, and playwright-core below `target/drivers`.

use std::{fs, path::Path, time::Duration};

use crate::{
    MACHINE,
    common::{
        Client, PATIENCE, TestServer,
        http::Request,
        installed,
        skip::{NOT_INSTALLED, skip_missing},
        stub_cluster::term,
    },
};
use base64::prelude::{BASE64_STANDARD, Engine};
use getlockd::internal::users::{NewEntry, entry};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn page_works_in_a_browser() {
    let _beside_others = MACHINE.read().await;
    let server = TestServer::start();
    let (users, guarded) = with_users();
    let leader = TestServer::leading(term(Duration::from_hours(1)), &[]);
    let ports = [server.addr, server.http, guarded.addr, guarded.http, leader.http];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external/page");
    let mut script = Command::new("node");
    script.arg("page.mjs").args(ports.map(|addr| addr.port().to_string()));
    script.current_dir(folder).env("NODE_PATH", installed("node_modules")).kill_on_drop(true);
    let output = timeout(6 * PATIENCE, script.output()).await.expect("an end in time");
    let code = output.as_ref().ok().and_then(|output| output.status.code());
    if output.is_err() || code == Some(NOT_INSTALLED) {
        return skip_missing("chromium, playwright-core or node");
    }
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said == "done\n", "{said}{}", String::from_utf8_lossy(&output.stderr));
    drop(users);
}

/// A server on which app keeps to its part, and ops sees all and may end all.
fn with_users() -> (TempDir, TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.toml");
    let user = |name: &str, lock: &[&str], see: &[&str], kill| {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let wanted =
            NewEntry { name: name.to_owned(), lock: owned(lock), see: owned(see), kill, native: false };
        entry(&wanted, format!("secret of {name}").as_bytes(), false).unwrap()
    };
    fs::write(&file, [user("app", &["app:"], &[], false), user("ops", &["*"], &["*"], true)].concat())
        .unwrap();
    let server = TestServer::with(&["--users", file.to_str().unwrap()]);
    (folder, server)
}

/// Somebody who looks, without a browser.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    async fn open(server: &TestServer, path: &str) -> Self {
        Self::open_as(server, "nobody", path).await
    }

    async fn open_as(server: &TestServer, name: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let login = BASE64_STANDARD.encode(format!("{name}:secret of {name}"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {login}\r\naccept: text/html\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The same from another address of this machine: 127.0.0.2.
    async fn open_from(from: [u8; 4], server: &TestServer, path: &str) -> Self {
        let mut stream = Client::connect_from(from, server.http).await.stream;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        Self(stream)
    }

    /// The next line that starts with this, without it; none at the end of the stream.
    async fn after(&mut self, start: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line in time").unwrap();
            if read == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.trim_end().to_owned());
            }
        }
    }

    /// Whether one may look, who looks no longer than to know.
    async fn is_let_in(server: &TestServer, name: &str, path: &str) -> bool {
        Self::open_as(server, name, path).await.after("HTTP/1.1 ").await.unwrap() == "200 OK"
    }

    async fn scene(&mut self) -> serde_json::Value {
        assert!(self.after("event: scene").await.is_some(), "a scene, not the end of the stream");
        serde_json::from_str(&self.after("data: ").await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn browsers_get_the_page_and_programs_the_hello() {
    let server = TestServer::start();
    let (status, hello) = Request::send(server.http, "GET", "/", "").await.reply().await;
    assert!(
        status == 200 && hello.starts_with("getlockd, a lock server. Open this address in a browser"),
        "{hello}"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wires/rest/page");
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let files = fs::read_dir(&folder).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for name in &files {
        let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
        let mut page = Viewer::open(&server, &path).await;
        assert_eq!(page.after("HTTP/1.1 ").await.unwrap(), "200 OK", "{path}");
        let policy = page.after("content-security-policy: ").await.unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    }
    let page = file("index.html");
    assert!(["style=", "http:", "https:", " onclick", " onload"].iter().all(|other| !page.contains(other)));
    let unsafe_ways =
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("];
    for name in files.iter().filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "js")) {
        let script = file(name);
        assert!(unsafe_ways.iter().all(|way| !script.contains(way)), "{name}");
    }
}

#[tokio::test]
async fn event_is_sent_after_a_change() {
    let server = TestServer::start();
    let mut viewer = Viewer::open(&server, "/events?find=IGHT").await;
    assert_eq!(viewer.scene().await["locks"], serde_json::json!([]));
    let [mut a, mut b] = server.clients().await;
    a.list("SESSIONS").await;
    assert_eq!(a.ask("GET_LOCK weekly 0").await, "1");
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    b.send_bytes(&[b"GET_LOCK nightly 60\n".to_vec(), b"PING\n".repeat(20_000)].concat()).await;
    server.until(|stats| stats.table.waiters == 1 && stats.memory == 112 * 1024).await;
    let scene = loop {
        let scene = viewer.scene().await;
        if scene["totals"]["waiters"] == 1 {
            break scene;
        }
    };
    assert_eq!((&scene["matching"], scene["locks"].as_array().unwrap().len()), (&1.into(), 1));
    let lock = &scene["locks"][0];
    assert_eq!(
        (&lock["name"], &lock["holders"], &lock["waiters"]),
        (&"nightly".into(), &1.into(), &1.into())
    );
    let (holder, waiter) = (lock["held"][0]["session"].to_string(), lock["queue"][0]["session"].to_string());
    assert_eq!(scene["sessions"][&holder]["holds"], 2);
    assert_eq!(scene["sessions"][&waiter]["waitsFor"], "nightly");
    // Told of one who has more than most.
    let memory = |id: &str| scene["sessions"][id].get("memory").cloned();
    assert_eq!((memory(&holder), memory(&waiter)), (None, Some((128 * 1024).into())));
}

/// A chain of four: the first holds `backup`, the others wait, each for the one before.
async fn chain(server: &TestServer) -> [Client; 4] {
    let mut clients: [Client; 4] = server.clients().await;
    for (client, name) in clients.iter_mut().zip(["backup", "migrate", "deploy", "notes"]) {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    for (client, name) in clients[1..].iter_mut().zip(["backup", "migrate", "deploy"]) {
        client.send(&format!("GET_LOCK {name} 60")).await;
    }
    server.until_waiting(3).await;
    clients
}

#[tokio::test]
async fn blockers_are_ranked_by_all_that_they_hold_up() {
    let server = TestServer::start();
    let mut clients = chain(&server).await;
    let [mut other, mut waiter, mut last] = server.clients().await;
    assert_eq!(other.ask("GET_LOCK other 0").await, "1");
    waiter.send("GET_LOCK other 60").await;
    last.send("GET_LOCK other 60").await;
    server.until_waiting(5).await;
    let scene = Viewer::open(&server, "/events").await.scene().await;
    let (first, second) = (clients[0].id().await, other.id().await);
    let blocker = |session: u32, blocked: u32, name: &str| serde_json::json!({ "session": session, "holders": 1, "blocked": blocked, "name": name });
    assert_eq!(scene["blocking"], 2);
    assert_eq!(
        scene["blockers"],
        serde_json::json!([blocker(first, 3, "backup"), blocker(second, 2, "other")])
    );
    let names: Vec<_> = scene["locks"].as_array().unwrap().iter().map(|lock| &lock["name"]).collect();
    assert_eq!(names, ["backup", "other", "migrate", "deploy", "notes"]);
    assert_eq!((&scene["locks"][0]["waiters"], &scene["locks"][0]["blocked"]), (&1.into(), &3.into()));
}

#[tokio::test]
async fn limit_of_permits_is_in_the_scene() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_PERMIT uploads 3 0").await, "1");
    assert_eq!(b.ask("GET_LOCK nightly 0").await, "1");
    let scene = Viewer::open(&server, "/events?sort=name").await.scene().await;
    let told = |lock: &serde_json::Value| (lock["limit"].clone(), lock["held"][0]["mode"].clone());
    let locks: Vec<_> = scene["locks"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(locks, [(serde_json::Value::Null, "exclusive".into()), (3.into(), "permit".into())]);
}

#[tokio::test]
async fn search_keeps_the_chain_of_what_is_found() {
    let server = TestServer::start();
    let mut clients = chain(&server).await;
    let scene = Viewer::open(&server, "/events?find=NOTES").await.scene().await;
    let names = |scene: &serde_json::Value, of: &str| {
        let locks = scene[of].as_array().unwrap();
        locks.iter().map(|lock| lock["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((&scene["matching"], names(&scene, "locks")), (&1.into(), vec!["notes".to_owned()]));
    assert_eq!(names(&scene, "chain"), ["backup", "deploy", "migrate"]);
    assert_eq!(scene["blockers"][0]["session"], clients[0].id().await);
    assert_eq!(scene["blockers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn search_finds_clients_notes_and_addresses() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("INTRODUCE ana@web-1[7] 'By Hand'").await, "1");
    assert_eq!(client.ask("GET_LOCK plain 0").await, "1");
    let wanted = "{\"resourceName\":\"leased\",\"clientId\":\"GitLab-7\",\"note\":\"Release 3\"}";
    assert_eq!(Request::send(server.http, "POST", "/api/lock/acquire", wanted).await.reply().await.0, 200);
    for (find, found) in [
        ("gitlab", 1),
        ("release", 1),
        ("127.0.0.1", 2),
        ("plain", 1),
        ("by%20hand", 1),
        ("ANA@", 1),
        ("nothing", 0),
    ] {
        let scene = Viewer::open(&server, &format!("/events?find={find}")).await.scene().await;
        assert_eq!(scene["matching"], found, "{find}");
    }
}

#[tokio::test]
async fn search_finds_a_text_spelled_as_it_was_said() {
    let server = TestServer::start();
    let mut client = server.client().await;
    assert_eq!(client.ask("GET_LOCK plain 0").await, "1");
    for text in ["ΑΣ", "ẞtraße", "İx", "ᏣᎳᎩ", "ᲐᲑᲒ", "𐐀𐐁", "Größe"] {
        assert_eq!(client.ask(&format!("INTRODUCE tool 'for {text}'")).await, "1");
        let find: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let scene = Viewer::open(&server, &format!("/events?find={find}")).await.scene().await;
        assert_eq!(scene["matching"], 1, "{text}");
    }
}

#[tokio::test]
async fn locks_are_sorted_as_asked() {
    let server = TestServer::start();
    let mut client = server.client().await;
    for name in ["c", "a", "b"] {
        assert_eq!(client.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    for (sort, names) in [("age", ["c", "a", "b"]), ("name", ["a", "b", "c"])] {
        let scene = Viewer::open(&server, &format!("/events?sort={sort}")).await.scene().await;
        let locks = scene["locks"].as_array().unwrap();
        assert_eq!(locks.iter().map(|lock| &lock["name"]).collect::<Vec<_>>(), names);
    }
    assert_eq!(Request::send(server.http, "GET", "/events?sort=size", "").await.reply().await.0, 400);
}

#[tokio::test]
async fn event_size_is_bounded() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    for name in 0..600 {
        holder.send(&format!("GET_LOCK many:{name:03} 0")).await;
    }
    holder.send("GET_LOCK zzz 0").await;
    server.until(|stats| stats.table.locks == 601).await;
    let mut waiters = Vec::new();
    for _ in 0..60 {
        let mut waiter = server.client().await;
        waiter.send("GET_LOCK zzz 60").await;
        waiters.push(waiter);
    }
    server.until_waiting(60).await;
    let scene = Viewer::open(&server, "/events").await.scene().await;
    let locks = scene["locks"].as_array().unwrap();
    assert_eq!((&scene["matching"], locks.len()), (&601.into(), 500));
    assert_eq!((&locks[0]["name"], &locks[0]["waiters"]), (&"zzz".into(), &60.into()));
    assert_eq!(locks[0]["queue"].as_array().unwrap().len(), 50);
    assert_eq!(scene["sessions"].as_object().unwrap().len(), 51);
}

#[tokio::test]
async fn texts_of_many_sessions_are_shortened_in_an_event() {
    const SESSIONS: usize = 1_000;
    let server = TestServer::start();
    let mut clients = Vec::new();
    for at in 0..SESSIONS {
        let (mut client, text) = (server.client().await, "\u{1}".repeat(256));
        client.send(&format!("INTRODUCE '{text}' '{text}'\nGET_LOCK {} 60", at / 50)).await;
        clients.push(client);
    }
    server.until_waiting(SESSIONS - SESSIONS / 50).await;
    let scene = Viewer::open(&server, "/events").await.scene().await;
    let sessions = scene["sessions"].as_object().unwrap();
    assert_eq!(sessions.len(), SESSIONS);
    let expected = serde_json::Value::from("\u{1}".repeat(200) + "…");
    assert!(sessions.values().all(|session| session["client"] == expected && session["note"] == expected));
    assert!(scene.to_string().len() < 4_000_000, "{}", scene.to_string().len());
}

#[tokio::test]
async fn page_without_a_search_opens_while_all_searches_are_taken() {
    let server = TestServer::start();
    let mut viewers = Vec::new();
    for at in 0..16 {
        let mut viewer = Viewer::open(&server, &format!("/events?find=n{at}")).await;
        viewer.scene().await;
        viewers.push(viewer);
    }
    for (path, status) in [("/events?find=another", "503"), ("/events?sort=age", "503"), ("/events", "200")] {
        let mut viewer = Viewer::open_from([127, 0, 0, 2], &server, path).await;
        let told = viewer.after("HTTP/1.1 ").await.unwrap();
        assert!(told.starts_with(status), "{path}: {told}");
    }
}

#[tokio::test]
async fn viewers_are_limited_and_filter_must_be_a_name() {
    let server = TestServer::start();
    let mut viewers = Vec::new();
    for at in 0..16 {
        let mut viewer = Viewer::open(&server, &format!("/events?find=n{at}")).await;
        viewer.scene().await;
        viewers.push(viewer);
    }
    let ask = async |path: &str| Request::send(server.http, "GET", path, "").await.reply().await.0;
    assert_eq!(ask("/events?find=another").await, 503);
    assert_eq!(ask(&format!("/events?find={}", "x".repeat(65))).await, 400);
    drop(viewers);
    // They have left when the server has seen it.
    let again = async { while !Viewer::is_let_in(&server, "nobody", "/events?find=n1").await {} };
    timeout(PATIENCE, again).await.expect("a place in time");
}

#[tokio::test]
async fn viewer_limit_is_shared_between_addresses() {
    let (_users, server) = with_users();
    let mut viewers = Vec::new();
    for at in 0..16 {
        let mut viewer = Viewer::open_as(&server, "app", &format!("/events?find=n{}", at % 4)).await;
        viewer.scene().await;
        viewers.push(viewer);
    }
    assert!(!Viewer::is_let_in(&server, "app", "/events?find=n1").await);
    assert!(Viewer::is_let_in(&server, "ops", "/events?find=n1").await);
    viewers.truncate(4);
    let fewer = async { while !Viewer::is_let_in(&server, "app", "/events?find=n1").await {} };
    timeout(PATIENCE, fewer).await.expect("a place in time");
    assert!(!Viewer::is_let_in(&server, "app", "/events?find=another").await);
    assert!(Viewer::is_let_in(&server, "ops", "/events?find=another").await);
}

#[tokio::test]
async fn event_obeys_permissions() {
    let (_users, server) = with_users();
    let [mut app, mut ops] = server.clients().await;
    for (client, name) in [(&mut app, "app"), (&mut ops, "ops")] {
        assert_eq!(client.ask(&format!("AUTH {name} 'secret of {name}'")).await, "1");
    }
    let (app_id, ops_id) = (app.id().await.to_string(), ops.id().await.to_string());
    assert_eq!(app.ask("GET_LOCK app:one 0").await, "1");
    for name in ["payroll", "app:two"] {
        assert_eq!(ops.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    let mut everything = Viewer::open_as(&server, "ops", "/events").await;
    let scene = everything.scene().await;
    assert_eq!(scene["matching"], 3);
    assert_eq!(scene["sessions"][&app_id]["mayEnd"], true);
    let mut part = Viewer::open_as(&server, "app", "/events").await;
    let scene = part.scene().await;
    let names: Vec<_> = scene["locks"].as_array().unwrap().iter().map(|lock| &lock["name"]).collect();
    assert_eq!(names, ["app:one", "app:two"]);
    let (own, other) = (&scene["sessions"][&app_id], &scene["sessions"][&ops_id]);
    assert_eq!((&own["user"], &own["mayEnd"], &own["holds"]), (&"app".into(), &true.into(), &1.into()));
    assert_eq!((&other["user"], &other["mayEnd"], other.get("holds")), (&"ops".into(), &false.into(), None));
    // A lease may call itself what it likes.
    let wanted = "{\"resourceName\":\"app:three\",\"clientId\":\"ops\"}";
    let (user, password) = ("app", "secret of app");
    let login = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let lease = Request::send_as(server.http, &login, "POST", "/api/lock/acquire", wanted).await;
    assert_eq!(lease.reply().await.0, 200);
    let lease = loop {
        let scene = part.scene().await;
        let sessions = scene["sessions"].as_object().unwrap();
        if let Some(lease) = sessions.values().find(|session| session["wire"] == "http") {
            break lease.clone();
        }
    };
    assert_eq!((&lease["client"], &lease["user"], own.get("client")), (&"ops".into(), &"app".into(), None));
    assert_eq!((&scene["user"], scene["blockers"].as_array().unwrap().len()), (&"app".into(), 0));
    let mut nobody = Viewer::open(&server, "/").await;
    assert_eq!(nobody.after("HTTP/1.1 ").await.unwrap(), "401 Unauthorized");
    let text = nobody.after("Log in with").await.unwrap();
    assert!(text.contains("Tokens are for programs and do not work here"), "{text}");
}

#[tokio::test]
async fn logout_refuses_every_password() {
    let (_users, server) = with_users();
    for name in ["ops", "nobody"] {
        let mut answer = Viewer::open_as(&server, name, "/logout").await;
        assert_eq!(answer.after("HTTP/1.1 ").await.unwrap(), "401 Unauthorized");
        assert_eq!(answer.after("www-authenticate: ").await.unwrap(), "Basic realm=\"getlockd\"");
    }
}

#[tokio::test]
async fn streams_end_at_shutdown_without_delay() {
    let mut server = TestServer::with(&["--drain", "60s"]);
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let mut viewer = Viewer::open(&server, "/events").await;
    assert_eq!(viewer.scene().await["stopping"], false);
    server.stop();
    while viewer.scene().await["stopping"] == false {}
    let began = std::time::Instant::now();
    drop(holder);
    while viewer.after("").await.is_some() {}
    server.stopped().await;
    assert!(began.elapsed().as_secs_f32() < 1.9, "it did not wait for its last words: {:?}", began.elapsed());
}
