//! `GET /metrics`, for Prometheus.

use std::sync::Arc;

use axum::{
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many scrapes run at the same time: each takes a thread.
static SCRAPES: Semaphore = Semaphore::const_new(2);

/// The metrics in the format that the client accepts: OpenMetrics if it asks for that, else Prometheus's text format.
///
/// Cancel-safe: it changes nothing.
pub async fn scrape(metrics: Arc<Metrics>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let open = accepted.into_iter().any(|accept| accept.contains("application/openmetrics-text"));
    let _place = SCRAPES.acquire().await;
    let page = spawn_blocking(move || if open { metrics.open_metrics() } else { metrics.text_format() });
    match page.await {
        Ok(page) => ([(CONTENT_TYPE, if open { OPEN_METRICS } else { CLASSIC })], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
