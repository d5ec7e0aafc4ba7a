//! Web pages of other sites, and requests that do not say whom they are for.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::common::{PATIENCE, TestServer};

/// The status and the rest of the answer to a request as it is written here.
async fn answer(server: &TestServer, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut told = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut told)).await.expect("an answer in time").unwrap();
    let status = told.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    (status, told)
}

/// The answer to a GET with these headers.
async fn get(server: &TestServer, path: &str, headers: &[&str]) -> (u16, String) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    answer(server, &format!("GET {path} HTTP/1.1\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn dns_rebinding_is_refused_without_users() {
    let server = TestServer::start();
    for headers in [
        &["host: evil.example:3308"][..],
        &["host: evil.example", "origin: http://evil.example", "sec-fetch-site: same-origin"],
    ] {
        for path in ["/", "/api/locks", "/getLock/x", "/netlocker/lock?key=x&time_lock=9", "/nothing"] {
            let (status, told) = get(&server, path, headers).await;
            assert!(status == 403 && told.contains("\"status\":\"Forbidden\""), "{path}: {told}");
            assert!(told.contains("start it with --http-host evil.example"), "{told}");
        }
    }
    for host in ["0.0.0.0:3308", "[::]:3308"] {
        let told = get(&server, "/getLock/x", &[&format!("host: {host}"), "sec-fetch-site: none"]).await;
        assert!(told.0 == 403 && told.1.contains("is not one of this server"), "{host}: {told:?}");
    }
    assert_eq!(server.service.stats().table.grants, 0);
    for host in ["localhost", "127.0.0.1:3308", "[::1]"] {
        assert_eq!(get(&server, "/api/locks", &[&format!("host: {host}")]).await.0, 200, "{host}");
    }
}

#[tokio::test]
async fn host_names_can_be_allowed() {
    let browser = ["host: evil.example", "sec-fetch-site: same-origin"];
    let named = TestServer::with(&["--http-host", "a.example,b.example", "--http-host", "c.example"]);
    for host in ["host: a.example:80", "host: B.example", "host: c.example."] {
        assert_eq!(get(&named, "/readyz", &[host]).await.0, 200, "{host}");
    }
    assert_eq!(get(&named, "/readyz", &browser).await.0, 403);
    // A proxy that changes Host has a name that browsers know.
    let by_proxy = ["host: localhost", "origin: https://b.example"];
    assert_eq!(get(&named, "/readyz", &by_proxy).await.0, 200);

    let open = TestServer::with(&["--open"]);
    assert_eq!(get(&open, "/readyz", &browser[..1]).await.0, 200);
    assert_eq!(get(&open, "/readyz", &browser).await.0, 403);
}

#[tokio::test]
async fn image_of_another_site_takes_no_lock() {
    let server = TestServer::with(&["--open"]);
    for path in ["/getLock/x?ttl=24h", "/netlocker/lock?key=x&time_lock=9", "/lockmanager/getLock/x"] {
        let (status, told) = get(&server, path, &["host: 127.0.0.1", "referer: http://evil.example/"]).await;
        assert!(status == 403 && told.contains("cross-site browser requests are refused"), "{path}: {told}");
    }
    let unclear = ["host: 127.0.0.1", "sec-fetch-site: anything", "referer: http://evil.example/"];
    assert_eq!(get(&server, "/getLock/x", &unclear).await.0, 403);
    assert_eq!(server.service.stats().table.grants, 0);
}

#[tokio::test]
async fn repeated_host_header_is_refused() {
    let server = TestServer::start();
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: local host\r\n\r\n", 400),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n", 200),
        ("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 403),
    ] {
        assert_eq!(answer(&server, request).await.0, status, "{request}");
    }
}

#[tokio::test]
async fn options_lists_the_methods_of_a_path() {
    let server = TestServer::start();
    let asked = async |path: &str| {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        answer(&server, &request).await
    };
    for (path, taken) in [
        ("/api/lock/acquire", "allow: POST\r\n"),
        ("/healthz", "allow: GET,HEAD\r\n"),
        ("/sharelock/lock", "allow: POST\r\n"),
    ] {
        let (status, told) = asked(path).await;
        assert!(status == 204 && told.contains(taken), "{path}: {told}");
    }
    assert_eq!(asked("/nothing").await.0, 404);
}
