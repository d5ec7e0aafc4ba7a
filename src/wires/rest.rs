//! The HTTP wire: leases for clients that hold no connection. gRPC comes over the same port.

mod events;
mod handler;
mod locks;
mod metrics;
mod page;
mod plain_text;
mod sessions;
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

use self::handler::ApiError;
use crate::{core::session::LockService, ops::metrics::Metrics, wires::web::AppState};

/// Everything that is answered with text and JSON.
///
/// Streams of events end at `stop`.
pub(crate) fn router(state: AppState, metrics: Arc<Metrics>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| page::page_or(&headers, HELLO)))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move |headers| metrics::scrape(metrics.clone(), headers)))
        .route("/openapi.json", get(openapi))
        .merge(locks::routes())
        .merge(sessions::routes())
        .merge(plain_text::routes())
        .merge(page::routes())
        .merge(events::routes(&state.service, stop))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
}

const HELLO: &str =
    "getlockd: GET /getLock/<name> answers a token or false; GET /openapi.json tells the rest\n";

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(service): State<Arc<LockService>>) -> Response {
    if service.registry().is_draining() {
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
    ApiError { code: StatusCode::NOT_FOUND, status: "NotFound", message }.into_response()
}

async fn wrong_method(request: Request) -> ApiError {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    ApiError { code: StatusCode::METHOD_NOT_ALLOWED, status: "MethodNotAllowed", message }
}
