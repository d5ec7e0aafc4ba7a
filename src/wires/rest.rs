//! The HTTP wire: leases for clients that keep no connection open. gRPC uses the same port.

mod events;
mod fields;
mod handler;
mod locks;
mod page;
mod plain_text;
mod sessions;
mod snapshot;
mod store;
mod unknown_name;
mod watch;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio_util::sync::CancellationToken;

use self::handler::ApiError;
pub(crate) use self::store::{FloorsJson, StoredLeaseJson};
use crate::{
    core::session::LockService,
    ops::metrics::{Metrics, scrape},
    wires::web::AppState,
};

/// The routes of HTTP.
///
/// Event streams end when `stop` is cancelled.
pub(crate) fn router(state: AppState, metrics: Arc<Metrics>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| page::page_or(&headers, HELLO)))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move |headers| scrape(metrics.clone(), headers)))
        .route("/openapi.json", get(openapi))
        .merge(locks::routes())
        .merge(sessions::routes())
        .merge(store::routes())
        .merge(plain_text::routes())
        .merge(page::routes())
        .merge(events::routes(&state.service, stop))
        .merge(watch::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

/// What `/` returns to a client that is not a browser.
const HELLO: &str = "\
getlockd, a lock server. Open this address in a browser for the live page, or ask:
GET /getLock/NAME?wait=10&ttl=60   take a lock: a token, or false
GET /releaseLock/NAME/TOKEN        release it
GET /api/locks                     list the locks that are held
GET /metrics                       metrics for Prometheus
GET /openapi.json                  all paths, described
";

/// Paths that end in a lock name.
const BEFORE_A_NAME: [&str; 6] = [
    "/api/lock/status/",
    "/api/lock/waiters/",
    "/api/lock/why/",
    "/api/lock/history/",
    "/getLock/",
    "/releaseLock/",
];

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(service): State<Arc<LockService>>) -> Response {
    if service.registry().is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    if !service.is_store_good() {
        // Ready nevertheless: locks of connections, and leases that are held, go on.
        return "ok, but the lease store cannot be written: no long lease is granted".into_response();
    }
    "ok".into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("rest/openapi.json")).into_response()
}

async fn no_such_path(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    if kind.starts_with(b"application/grpc") {
        // UNIMPLEMENTED. Its message is added with the others of gRPC.
        return [("content-type", "application/grpc"), ("grpc-status", "12")].into_response();
    }
    let path = request.uri().path();
    let has_slash =
        BEFORE_A_NAME.iter().any(|before| path.strip_prefix(before).is_some_and(|name| name.contains('/')));
    let hint = if has_slash { "in a lock name, write / as %2F" } else { "GET /openapi.json lists the paths" };
    let message = format!("no such path: {path}; {hint}");
    ApiError { code: StatusCode::NOT_FOUND, status: "NotFound", message }.into_response()
}

async fn wrong_method(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{method} is not allowed on {path}; the Allow header lists the methods that are");
    ApiError { code: StatusCode::METHOD_NOT_ALLOWED, status: "MethodNotAllowed", message }
}
