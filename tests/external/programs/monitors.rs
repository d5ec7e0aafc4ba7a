//! What watches MySQL servers, stands in front of them or looks into them.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::tool::{ask, end, run, start, unpacked};
use crate::common::skip::skip_missing;
use crate::common::{Client, PATIENCE, TestServer, mysql::MySql};

/// A server with a holder and one who waits.
async fn a_queue() -> (TestServer, [Client; 2]) {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    waiter.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    (server, [holder, waiter])
}

/// A port for a program that cannot say which it took, at an address where no test listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until a program writes these words to a stream.
async fn says(stream: &mut (impl AsyncRead + Unpin), words: &str) {
    let mut told = String::new();
    let read = async {
        while !told.contains(words) {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "it ended before it said {words}: {told}");
            told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    let found = timeout(PATIENCE, read).await;
    assert!(found.is_ok(), "{words} was not said: {told}");
}

async fn curl(args: &[&str], home: &Path) -> String {
    let (well, said) =
        run("curl", &[&["--silent", "--show-error", "--fail"], args].concat(), home).await.unwrap();
    assert!(well, "{args:?}: {said}");
    said
}

/// What mysqld_exporter asks for beside its defaults: all of it that takes no GROUP BY, subquery or binary log.
const MORE_COLLECTORS: [&str; 13] = [
    "engine_innodb_status",
    "info_schema.clientstats",
    "info_schema.innodb_metrics",
    "info_schema.schemastats",
    "info_schema.tables",
    "info_schema.userstats",
    "perf_schema.eventswaits",
    "perf_schema.file_events",
    "perf_schema.indexiowaits",
    "perf_schema.memory_events",
    "perf_schema.replication_group_members",
    "perf_schema.tableiowaits",
    "perf_schema.tablelocks",
];

#[tokio::test]
async fn mysqld_exporter() {
    let (server, _clients) = a_queue().await;
    let home = tempfile::tempdir().unwrap();
    let port = server.mysql.port();
    let login = format!("[client]\nhost=127.0.0.1\nport={port}\nuser=root\npassword=not looked at\n");
    std::fs::write(home.path().join(".my.cnf"), login).unwrap();
    let program = unpacked("prometheus-mysqld-exporter", "usr/bin/prometheus-mysqld-exporter");
    let more = MORE_COLLECTORS.map(|name| format!("--collect.{name}"));
    let more = more.each_ref().map(String::as_str);
    for more in [&[][..], &more] {
        let at = free_address();
        let listen = format!("--web.listen-address={at}");
        let args = [&[listen.as_str()], more].concat();
        let Some(mut exporter) = start(&program, &args, home.path()) else { return };
        says(exporter.child.stderr.as_mut().unwrap(), "Listening on").await;
        let page = curl(&[&format!("http://{at}/metrics")], home.path()).await;
        let errors: Vec<&str> =
            page.lines().filter(|line| line.starts_with("mysql_exporter_scrape_errors")).collect();
        assert_eq!(errors, [""; 0]);
        for line in [
            "mysql_up 1",
            "mysql_exporter_last_scrape_error 0",
            "mysql_global_status_getlockd_waiters 1",
            "mysql_global_status_threads_connected 3",
        ] {
            assert!(page.lines().any(|said| said == line), "no {line} in {page}");
        }
    }
}

#[tokio::test]
async fn haproxy_checks_and_proxies() {
    let server = TestServer::start();
    let mut line = server.client().await;
    let home = tempfile::tempdir().unwrap();
    let (at, to) = (free_address(), server.mysql);
    let configuration = format!(
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1m\n  timeout server 1m\n  \
         log stdout format raw local0 info\n  option log-health-checks\n\
         listen locks\n  bind {at}\n  option mysql-check user haproxy\n  server one {to} check inter 200ms\n\
         listen locks-too\n  bind {}\n  option mysql-check user haproxy post-41\n  server two {to} check inter 200ms\n",
        free_address()
    );
    std::fs::write(home.path().join("haproxy.cfg"), configuration).unwrap();
    let Some(mut proxy) = start(unpacked("haproxy", "usr/sbin/haproxy"), &["-f", "haproxy.cfg"], home.path())
    else {
        return;
    };
    for server in ["locks/one", "locks-too/two"] {
        says(proxy.child.stdout.as_mut().unwrap(), &format!("Health check for server {server} succeeded"))
            .await;
    }
    let mut mysql = MySql::connect(at).await;
    assert_eq!(mysql.value("SELECT GET_LOCK('nightly', 0)").await.as_deref(), Some("1"));
    line.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    drop(mysql);
    assert_eq!(line.line().await, "1");
}

#[tokio::test]
async fn collectd() {
    let (server, _clients) = a_queue().await;
    let home = tempfile::tempdir().unwrap();
    let (port, types) = (server.mysql.port(), unpacked("collectd-core", "usr/share/collectd/types.db"));
    let plugins = unpacked("collectd-core", "usr/lib/collectd");
    let configuration = format!(
        "BaseDir \"{home}\"\nPIDFile \"{home}/pid\"\nPluginDir \"{plugins}\"\nTypesDB \"{types}\"\nInterval 1\n\
         LoadPlugin mysql\nLoadPlugin csv\n<Plugin csv>\n  DataDir stdout\n</Plugin>\n<Plugin mysql>\n  <Database locks>\n    \
         Host \"127.0.0.1\"\n    Port {port}\n    User \"root\"\n    Password \"not looked at\"\n  </Database>\n</Plugin>\n",
        home = home.path().display(),
        plugins = plugins.display(),
        types = types.display(),
    );
    std::fs::write(home.path().join("collectd.conf"), configuration).unwrap();
    let program = unpacked("collectd-core", "usr/sbin/collectd");
    let program = program.display().to_string();
    // What it writes into a pipe would be kept back.
    let Some(mut collectd) = start("stdbuf", &["-oL", &program, "-f", "-C", "collectd.conf"], home.path())
    else {
        return;
    };
    says(collectd.child.stdout.as_mut().unwrap(), "/mysql-locks/uptime interval=").await;
}

#[tokio::test]
async fn monitoring_plugins() {
    let (server, _clients) = a_queue().await;
    let home = tempfile::tempdir().unwrap();
    let port = server.mysql.port().to_string();
    let at = ["-H", "127.0.0.1", "-P", &port, "-u", "root"];
    let Some((well, said)) = run("/usr/lib/nagios/plugins/check_mysql", &at, home.path()).await else {
        return;
    };
    assert!(well && said.contains("Threads: 3"), "{said}");
    let query = ["-q", "SELECT IS_FREE_LOCK('nightly')", "-c", "1:"];
    let args = [&at[..], &query].concat();
    let Some((well, said)) = run("/usr/lib/nagios/plugins/check_mysql_query", &args, home.path()).await
    else {
        return;
    };
    assert!(!well && said.contains("QUERY CRITICAL") && said.contains("returned 0"), "{said}");
}

/// Which waits are to be ended is found by their text.
#[tokio::test]
async fn pt_kill_ends_a_wait() {
    let (server, [_holder, mut waiter]) = a_queue().await;
    let more = ["--match-info=GET_LOCK", "--kill-query", "--run-time=1", "--interval=1", "--print"];
    let Some((well, said)) = ask("pt-kill", &server, &more).await else { return };
    assert!(well && said.contains("KILL QUERY 2 "), "{said}");
    assert!(waiter.line().await.starts_with("ERROR INTERRUPTED"));
}

#[tokio::test]
async fn isql_by_mariadb_odbc() {
    let (server, _clients) = a_queue().await;
    let home = tempfile::tempdir().unwrap();
    let source = format!(
        "[locks]\nDriver=MariaDB Unicode\nSERVER=127.0.0.1\nPORT={}\nUID=root\n",
        server.mysql.port()
    );
    std::fs::write(home.path().join("odbc.ini"), source).unwrap();
    let Some(mut isql) = start("isql", &["locks", "-b", "-d,"], home.path()) else { return };
    let mut keys = isql.child.stdin.take().unwrap();
    keys.write_all(b"SELECT GET_LOCK('nightly', 0), IS_USED_LOCK('nightly')\n").await.unwrap();
    drop(keys);
    let (well, said) = end(isql).await;
    assert!(well && said.contains("0,1\n"), "{said}");
}

/// Its login, the list of sessions with a button that ends one, and its box for SQL.
#[tokio::test]
async fn adminer() {
    let (server, [_holder, mut waiter]) = a_queue().await;
    let (home, at) = (tempfile::tempdir().unwrap(), free_address());
    let folder = unpacked("adminer", "usr/share/adminer");
    if !folder.exists() {
        return skip_missing("adminer");
    }
    let Some(mut php) =
        start("php", &["-S", &at.to_string(), "-t", &folder.display().to_string()], home.path())
    else {
        return;
    };
    says(php.child.stderr.as_mut().unwrap(), "started").await;
    let login = format!(
        "auth[driver]=server&auth[server]={}&auth[username]=root&auth[password]=x&auth[db]=",
        server.mysql
    );
    let page = format!("http://{at}/adminer.php?server={}&username=root", server.mysql);
    let jar = ["--cookie", "jar", "--cookie-jar", "jar"];
    let fetch = async |more: &[&str]| curl(&[&jar, more].concat(), home.path()).await;
    fetch(&["--output", "/dev/null", "--data", &login, &format!("http://{at}/adminer.php")]).await;
    assert!(fetch(&[&page]).await.contains("Logged as: <b>root@127.0.0.1</b>"));
    let list = fetch(&[&format!("{page}&processlist=")]).await;
    assert!(list.contains("GET_LOCK"), "{list}");
    let token = list.split_once("name='token' value='").map(|(_, rest)| rest.split('\'').next().unwrap());
    let token = token.unwrap_or_else(|| panic!("no token in {list}"));
    let sql = format!("query=SELECT IS_USED_LOCK('nightly') AS holder&limit=&token={token}");
    let answer = fetch(&["--data", &sql, &format!("{page}&sql=")]).await;
    assert!(
        answer.contains("<th title='") && answer.contains("holder") && answer.contains("<td>1"),
        "{answer}"
    );
    let kill = format!("kill[]=2&token={token}");
    fetch(&["--data", &kill, &format!("{page}&processlist=")]).await;
    assert!(waiter.line().await.starts_with("ERROR KILLED"));
}
