//! What is counted: a small story, told again by `/metrics`, by STATS and by the history.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio, time::Duration};

use crate::{
    common::{
        Client, TestServer,
        http::{self, get},
        installed,
        mysql::{MySql, Reply},
        skip::skip_missing,
    },
    status_port::metrics_of_a_node,
};
use getlockd::{
    internal::{
        session::{History, LockService, Principal, first_page},
        stats::{BOUNDS, PastHold, Refused},
        users::{NewEntry, entry},
    },
    name::Name,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

/// Every sample of a scrape.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    async fn of(server: &TestServer) -> Self {
        let (status, page) = get(server.http, "/metrics").await;
        assert_eq!(status, 200);
        Self::read(&page)
    }

    fn read(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Self(samples.map(sample).collect())
    }

    fn value(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no {sample}"))
    }

    /// What has changed since then, of the server and without the sums of times.
    fn since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let of_story = |name: &&String| {
            name.starts_with("getlockd_") && !name.contains("_sum") && !name.contains("_bucket")
        };
        let changed =
            self.0.keys().filter(of_story).map(|name| (&**name, self.value(name) - before.value(name)));
        changed.filter(|(_, change)| *change != 0.0).collect()
    }

    /// The names of metrics, without what a histogram adds.
    fn names(&self) -> Vec<&str> {
        self.0.keys().map(|sample| sample.split('{').next().unwrap()).collect()
    }
}

fn history(server: &TestServer, name: &str) -> Vec<PastHold> {
    history_of(&server.service, name)
}

fn history_of(service: &LockService, name: &str) -> Vec<PastHold> {
    let query = History { name: Some(Name::new(name).unwrap()), page: first_page() };
    service.query(&query, Principal::ALL).unwrap().rows
}

fn causes(server: &TestServer, name: &str) -> Vec<&'static str> {
    history(server, name).iter().map(|past| past.cause.as_str()).collect()
}

#[tokio::test]
async fn grants_are_counted_by_mode() {
    let server = TestServer::start();
    let mut client = server.client().await;
    // The second permit is a count, and the lock behind it an upgrade.
    for take in
        ["GET_SHARED_LOCK b 0", "GET_PERMIT c 3 0", "GET_PERMIT c 3 0", "GET_LOCK c 0", "GET_LOCK a 0"]
    {
        assert_eq!(client.ask(take).await, "1", "{take}");
    }
    let scrape = Scrape::of(&server).await;
    let grants = |mode: &str| scrape.value(&format!("getlockd_grants_total{{mode=\"{mode}\"}}"));
    assert_eq!(["exclusive", "shared", "permit"].map(grants), [2.0, 1.0, 1.0]);
}

#[tokio::test]
async fn counters_follow_a_sequence_of_events() {
    let server = TestServer::start();
    let [mut one, mut two, mut three] = server.clients().await;
    let ids = [one.id().await, two.id().await];
    let before = Scrape::of(&server).await;

    // Taken at once: a grant without a wait.
    assert_eq!(one.ask("GET_LOCK a 0").await, "1");
    assert_eq!(one.ask("GET_LOCK a 0").await, "1");
    assert_eq!(two.ask("GET_SHARED_LOCK b 0").await, "1");
    // A try that fails, and a wait that does.
    assert_eq!(two.ask("GET_LOCK a 0").await, "0");
    assert_eq!(two.ask("GET_LOCK a 0.01").await, "0");
    // A deadlock, then a wait that is granted.
    one.send("GET_LOCK b 60").await;
    server.until_waiting(1).await;
    assert!(two.ask("GET_LOCK a 60").await.starts_with("ERROR DEADLOCK "));
    assert_eq!(two.ask("RELEASE_LOCK b").await, "1");
    assert_eq!(one.line().await, "1");
    // A wait that is interrupted, one whose client leaves, and one whose session is killed.
    two.send("GET_LOCK a 60").await;
    server.until_waiting(1).await;
    assert_eq!(three.ask(&format!("KILL QUERY {}", ids[1])).await, "1");
    assert!(two.line().await.starts_with("ERROR INTERRUPTED wait cancelled "));
    let mut four = server.client().await;
    four.send("GET_LOCK a 60").await;
    server.until_waiting(1).await;
    four.reset();
    server.until(|stats| stats.table.waiters == 0 && stats.sessions == 3).await;
    two.send("GET_LOCK a 60").await;
    server.until_waiting(1).await;
    assert_eq!(three.ask(&format!("KILL {}", ids[0])).await, "1");
    assert_eq!(two.line().await, "1");
    server.until(|stats| stats.sessions == 2).await;
    // A lease that is released, and one that runs out.
    let wish = json!({"resourceName": "c", "ttlMs": 1000});
    let (status, lease) = http::post(server.http, "/api/lock/acquire", &wish).await;
    assert_eq!(status, 200, "{lease}");
    let release = json!({"resourceName": "c", "lockToken": lease["lockToken"]});
    assert_eq!(http::post(server.http, "/api/lock/release", &release).await.0, 200);
    assert_eq!(http::post(server.http, "/api/lock/acquire", &wish).await.0, 200);
    server.until(|stats| stats.table.locks == 1 && stats.sessions == 2).await;

    let after = Scrape::of(&server).await;
    let expected = [
        ("getlockd_connections_accepted_total{wire=\"http\"}", 4.0),
        ("getlockd_connections_accepted_total{wire=\"line\"}", 1.0),
        ("getlockd_connections{wire=\"line\"}", -1.0),
        ("getlockd_deadlocks_total", 1.0),
        // a, b, a again by the second; c twice.
        ("getlockd_grants_total{mode=\"exclusive\"}", 5.0),
        ("getlockd_grants_total{mode=\"shared\"}", 1.0),
        ("getlockd_hold_seconds_count", 5.0),
        ("getlockd_kills_total", 1.0),
        ("getlockd_locks", 1.0),
        ("getlockd_releases_total{cause=\"expired\"}", 1.0),
        ("getlockd_releases_total{cause=\"killed\"}", 2.0),
        ("getlockd_releases_total{cause=\"release\"}", 2.0),
        ("getlockd_sessions{wire=\"line\"}", -1.0),
        ("getlockd_timeouts_total", 2.0),
        ("getlockd_wait_seconds_count{outcome=\"granted\"}", 2.0),
        ("getlockd_wait_seconds_count{outcome=\"interrupted\"}", 1.0),
        ("getlockd_wait_seconds_count{outcome=\"left\"}", 1.0),
        ("getlockd_wait_seconds_count{outcome=\"timeout\"}", 1.0),
    ];
    assert_eq!(after.since(&before).into_iter().collect::<Vec<_>>(), expected);
    let stats = server.service.stats();
    assert_eq!((stats.abandoned, stats.timeouts, stats.table.grants), (3, 2, 6));
    assert_eq!(causes(&server, "c"), ["expired"]);
    assert!(history(&server, "c")[0].held >= Duration::from_secs(1));
    for sample in after.0.keys() {
        assert!(
            !["127.0.0.1", "\"a\"", "\"b\"", "\"c\""].iter().any(|word| sample.contains(word)),
            "{sample}"
        );
    }
}

#[tokio::test]
async fn every_release_cause_is_counted() {
    let mut server = TestServer::with(&["--idle-time-holders", "200ms", "--drain", "0s"]);
    let [mut one, mut two, mut three] = server.clients().await;
    let id = three.id().await;
    // It says nothing more, for too long.
    assert_eq!(three.ask("GET_LOCK idle 0").await, "1");
    assert_eq!(one.ask("GET_LOCK dropped 0").await, "1");
    one.reset();
    assert_eq!(two.ask("GET_LOCK quit 0").await, "1");
    assert_eq!(two.ask("QUIT").await, "BYE");
    assert!(three.rest().await.contains("; your locks are released; closing"));
    server.until(|stats| stats.sessions == 0).await;
    assert_eq!(causes(&server, "idle"), ["idle"]);
    assert_eq!(causes(&server, "dropped"), ["disconnect"]);
    assert_eq!(causes(&server, "quit"), ["disconnect"]);
    let past = &history(&server, "idle")[0];
    assert_eq!((past.origin.wire.as_str(), past.session.0), ("line", id));
    assert!(past.held >= Duration::from_millis(200));

    let mut pooled = MySql::connect(server.mysql).await;
    assert_eq!(pooled.value("SELECT GET_LOCK('pooled', 0)").await.as_deref(), Some("1"));
    assert!(matches!(pooled.command(&[0x1F]).await, Reply::Ok { .. }));
    assert_eq!(causes(&server, "pooled"), ["reset"]);

    let wish = json!({"resourceName": "stopped"});
    assert_eq!(http::post(server.http, "/api/lock/acquire", &wish).await.0, 200);
    let service = server.service.clone();
    server.stop();
    server.stopped().await;
    assert_eq!(history_of(&service, "stopped")[0].cause.as_str(), "shutdown");
}

#[tokio::test]
async fn refusals_are_counted() {
    let server = TestServer::with(&[
        "--max-locks-per-session",
        "1",
        "--max-waiters-per-lock",
        "1",
        "--max-leases",
        "1",
    ]);
    let [mut one, mut two] = server.clients().await;
    assert_eq!(one.ask("GET_LOCK a 0").await, "1");
    assert!(one.ask("GET_LOCK b 0").await.starts_with("ERROR LIMIT "));
    let acquire = |name: &str| json!({ "resourceName": name });
    assert_eq!(http::post(server.http, "/api/lock/acquire", &acquire("c")).await.0, 200);
    assert_eq!(http::post(server.http, "/api/lock/acquire", &acquire("d")).await.0, 503);
    two.send("GET_LOCK a 60").await;
    server.until_waiting(1).await;
    let mut three = server.client().await;
    assert!(three.ask("GET_LOCK a 60").await.starts_with("ERROR LIMIT "));
    three.send_bytes(&vec![b'x'; 100_000]).await;
    three.rest().await;
    server.until(|stats| stats.sessions == 3).await;

    let scrape = Scrape::of(&server).await;
    for labels in [
        "reason=\"leases\",cause=\"full\"",
        "reason=\"locks_per_session\"",
        "reason=\"protocol\"",
        "reason=\"waiters_per_lock\"",
    ] {
        assert_eq!(scrape.value(&format!("getlockd_refused_total{{{labels}}}")), 1.0, "{labels}");
    }
    assert_eq!(scrape.value("getlockd_leases"), 1.0);
}

#[tokio::test]
async fn refused_connections_are_counted() {
    let server = TestServer::with(&["--max-connections", "1"]);
    let mut client = server.client().await;
    assert_eq!(client.ask("PING").await, "PONG");
    assert!(server.client().await.rest().await.starts_with("ERROR "));
    assert_eq!(client.ask("QUIT").await, "BYE");
    client.rest().await;
    // Its place is free a moment after its end is read.
    let page = loop {
        let (status, page) = get(server.http, "/metrics").await;
        if status == 200 {
            break page;
        }
    };
    let refused = page.lines().find(|line| line.contains("reason=\"connections\",cause=\"full\"")).unwrap();
    assert!(!refused.ends_with(" 0"), "{refused}");
    assert!(page.contains("\ngetlockd_max_connections 1\n") && page.contains("{wire=\"http\"} 1\n"));
}

#[tokio::test]
async fn format_follows_the_accept_header() {
    let server = TestServer::start();
    let open = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let mut client = Client::connect(server.http).await;
    client.send_bytes(open.as_bytes()).await;
    let page = client.rest().await;
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(page.contains("\n# TYPE getlockd_kills counter\n") && page.ends_with("# EOF\n"), "{page}");
    let (_, page) = get(server.http, "/metrics").await;
    assert!(page.contains("\n# TYPE getlockd_kills_total counter\n") && !page.contains("# EOF"), "{page}");
    let buckets = page.lines().filter(|line| line.starts_with("getlockd_hold_seconds_bucket"));
    assert_eq!(buckets.count(), BOUNDS.len() + 1);
    assert!(page.contains("getlockd_hold_seconds_bucket{le=\"+Inf\"} 0\n"), "{page}");
}

/// A server with a lease store, which has all metrics. Its folder may be on a file system that forgets.
pub fn with_store() -> (TempDir, TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases");
    let server = TestServer::with(&["--store", file.to_str().unwrap(), "--store-anyway"]);
    (folder, server)
}

fn ops(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ops").join(file)).unwrap()
}

#[tokio::test]
async fn alerts_and_dashboard_use_existing_metrics() {
    let (_folder, server) = with_store();
    let (server, node) = (Scrape::of(&server).await, Scrape::read(&metrics_of_a_node().await));
    let names = [server.names(), node.names()].concat();
    for file in ["alerts.yml", "alerts_test.yml", "grafana-dashboard.json"] {
        let text = ops(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("getlockd_") || word.starts_with("process_")) {
            let is_part = names.iter().any(|name| *name == word || name.strip_suffix("_count") == Some(word));
            assert!(is_part, "{file}: {word}");
        }
    }
    let dashboard: serde_json::Value = serde_json::from_str(&ops("grafana-dashboard.json")).unwrap();
    assert_eq!(dashboard["uid"], "getlockd");
}

#[tokio::test]
async fn refused_logins_are_counted_by_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let wanted = NewEntry { name: "scraper".to_owned(), ..NewEntry::default() };
    fs::write(&path, entry(&wanted, b"right", false).unwrap()).unwrap();
    let server = TestServer::with(&["--users", path.to_str().unwrap()]);
    let reasons = [Refused::Login, Refused::Throttled, Refused::Denied];
    let counted = || reasons.map(|reason| server.service.recorder().refusals(reason));
    let mut client = server.client().await;
    assert!(client.ask("GET_LOCK a 0").await.starts_with("ERROR AUTH log in first"));
    assert!(client.ask("AUTH scraper wrong").await.starts_with("ERROR AUTH wrong"));
    assert_eq!(client.ask("AUTH scraper right").await, "1");
    assert!(client.ask("GET_LOCK a 0").await.starts_with("ERROR DENIED"));
    assert_eq!(counted(), [1, 0, 2]);
    let mut guesses = Vec::new();
    while counted()[1] == 0 {
        let mut guess = server.client().await;
        guess.send("AUTH somebody wrong").await;
        guesses.push(guess);
    }
    assert!(guesses.len() > 15, "{}", guesses.len());
    assert_eq!(client.ask("AUTH scraper right").await, "1");
}

/// Runs promtool. None if it is not installed.
async fn promtool(args: &[&str], input: &str) -> Option<(bool, String)> {
    let below_target = installed("prometheus/usr/bin/promtool");
    let program = if below_target.exists() { below_target } else { "promtool".into() };
    let mut command = Command::new(program);
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        skip_missing("promtool");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test]
async fn promtool_accepts_metrics_and_alerts() {
    let (_folder, server) = with_store();
    let (_, page) = get(server.http, "/metrics").await;
    let page_of_a_node = metrics_of_a_node().await + "\n";
    let calls: [(&[&str], &str); 4] = [
        (&["check", "metrics"], &page),
        (&["check", "metrics"], &page_of_a_node),
        (&["check", "rules", "ops/alerts.yml"], ""),
        (&["test", "rules", "ops/alerts_test.yml"], ""),
    ];
    for (args, input) in calls {
        if let Some((accepted, said)) = promtool(args, input).await {
            assert!(accepted, "{args:?}: {said}");
        }
    }
}
