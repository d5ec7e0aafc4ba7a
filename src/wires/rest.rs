//! The HTTP wire: leases for clients that hold no connection. gRPC comes over the same port.

mod api;
mod events;
mod json;
mod lists;
mod metrics;
mod page;
mod plain_text;
mod snapshot;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use tokio_util::sync::CancellationToken;

use self::json::Failure;
use crate::{core::lease::Leases, ops::metrics::Metrics};

/// Everything that is answered with text and JSON.
///
/// Streams of events end at `stop`.
pub fn router(leases: Arc<Leases>, metrics: Arc<Metrics>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| page::page_or(&headers, HELLO)))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move |headers| metrics::scrape(metrics.clone(), headers)))
        .route("/openapi.json", get(openapi))
        .merge(api::routes())
        .merge(events::routes(leases.hub(), stop))
        .merge(lists::routes())
        .merge(page::routes())
        .merge(plain_text::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(leases)
}

const HELLO: &str =
    "getlockd: GET /getLock/<name> answers a token or false; GET /openapi.json tells the rest\n";

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(leases): State<Arc<Leases>>) -> Response {
    if leases.hub().is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping").into_response();
    }
    "ok".into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("rest/openapi.json")).into_response()
}

async fn no_such_path(request: Request) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    if kind.starts_with(b"application/grpc") {
        // As gRPC says that there is no such function.
        return [("content-type", "application/grpc"), ("grpc-status", "12")].into_response();
    }
    let message = format!("there is no {}; GET /openapi.json lists what there is", request.uri().path());
    Failure { code: StatusCode::NOT_FOUND, status: "NotFound", message }.into_response()
}

async fn wrong_method(request: Request) -> Failure {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Failure { code: StatusCode::METHOD_NOT_ALLOWED, status: "MethodNotAllowed", message }
}
