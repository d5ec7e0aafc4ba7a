//! HTTP and gRPC requests, one after the other, through everything that serves them except the socket.
//!
//! `POST /path?query client`, a newline, and a body. `GRPC` has messages, each after a byte with its length. A line of
//! `--` ends a request. 32 zeros are replaced by the last token.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{
        HeaderMap, Request, StatusCode, Version,
        header::{CONTENT_TYPE, HOST},
    },
    response::Response,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::{
    config::{Cli, Listen},
    core::session::LockService,
    net::{Keepalive, TransportConfig},
    server::Server,
    wires::web::Peer,
};

/// For how long a client waits for its reply, on a clock that jumps.
const PATIENCE: Duration = Duration::from_hours(1);

/// Longer than any lease of `CONFIG`.
const LONG: Duration = Duration::from_hours(25);

/// The longest lease is shorter than usual: the clock jumps over it after each input.
const CONFIG: [&str; 3] = ["getlockd", "--lease-max", "24h"];

const TOKEN: [u8; 32] = [b'0'; 32];

thread_local! {
    static WEB: Web = Web::new();
}

pub(super) fn requests(data: &[u8]) {
    WEB.with(|web| web.runtime.block_on(web.talk(data)));
}

struct Web {
    runtime: Runtime,
    router: Router,
    service: Arc<LockService>,
}

impl Web {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let mut config = Cli::read(CONFIG).expect("valid flags").config;
        (config.line, config.mysql, config.http) = (Listen::Off, Listen::Off, Listen::Off);
        let server = runtime.block_on(async { Server::bind(&config) }).expect("nothing is bound");
        Self { runtime, router: server.router(), service: server.service().clone() }
    }

    /// Whatever was asked, time ends it all.
    async fn talk(&self, data: &[u8]) {
        let mut token = TOKEN;
        let mut data = data.to_vec();
        while !data.is_empty() {
            let rest = find(&data, b"\n--\n").map(|at| data.split_off(at).split_off(4)).unwrap_or_default();
            put(&mut data, token);
            if let Some(request) = request(&data, &self.service)
                && let Ok(Some(found)) = timeout(PATIENCE, self.ask(request)).await
            {
                token = found;
            }
            data = rest;
        }
        sleep(LONG).await;
        let stats = self.service.stats();
        let left = (stats.sessions, stats.table.locks, stats.table.waiters, self.service.registry().count());
        assert_eq!(left, (0, 0, 0, 0), "nothing is left behind");
        assert_eq!(stats.memory, 0, "nothing is charged any more");
    }

    /// The token of the reply, if it has one.
    async fn ask(&self, request: Request<Body>) -> Option<[u8; 32]> {
        let Ok(response) = self.router.clone().call(request).await;
        let (is_json, status) = (is_json(&response), response.status());
        let body = to_bytes(response.into_body(), usize::MAX).await.ok()?;
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{}", body.escape_ascii());
        assert!(!is_json || serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "JSON");
        let text: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'-').collect();
        let mut candidates = text.windows(TOKEN.len());
        candidates.find(|some| some.iter().all(u8::is_ascii_hexdigit))?.try_into().ok()
    }
}

fn request(data: &[u8], service: &Arc<LockService>) -> Option<Request<Body>> {
    let (head, body) = data.split_at(find(data, b"\n").unwrap_or(data.len()));
    let mut words = str::from_utf8(head).ok()?.split(' ');
    let (method, path, client) = (words.next()?, words.next()?, words.next());
    let body = body.get(1..).unwrap_or_default();
    let is_grpc = method == "GRPC";
    let (method, kind, body) = if is_grpc {
        ("POST", "application/grpc", messages(body))
    } else {
        (method, "application/json", body.to_vec())
    };
    let version = if is_grpc { Version::HTTP_2 } else { Version::HTTP_11 };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .version(version)
        .header(CONTENT_TYPE, kind)
        .header(HOST, "localhost");
    let request = client.into_iter().fold(request, |request, client| request.header("x-client-id", client));
    let request = request.extension(Peer::new(
        ([127, 0, 0, 1], 1).into(),
        None,
        TransportConfig::from(Keepalive(std::time::Duration::from_secs(30))).into(),
        std::sync::Weak::new(),
        service,
        CancellationToken::new(),
    ));
    request.body(Body::from(body)).ok()
}

/// As gRPC frames them.
fn messages(mut data: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (message, next) = rest.split_at(rest.len().min((*length).into()));
        framed.extend([0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(u8::MAX)]);
        framed.extend(message);
        data = next;
    }
    framed
}

fn put(data: &mut [u8], token: [u8; 32]) {
    while let Some(at) = find(data, &TOKEN).filter(|_| token != TOKEN) {
        data[at..at + TOKEN.len()].copy_from_slice(&token);
    }
}

fn find(data: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(data, what)
}

fn is_json(response: &Response) -> bool {
    let headers: &HeaderMap = response.headers();
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
}
