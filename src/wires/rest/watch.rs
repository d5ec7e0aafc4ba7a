//! `GET /api/watch`: the events of locks, as server-sent events.

use std::{convert::Infallible, fmt::Write, sync::Arc};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;

use super::handler::{HandlerResult, UrlQuery};
use crate::{
    core::{
        events::{EventId, LockEvent},
        session::{LockService, Told},
    },
    name::Name,
    wires::web::{AppState, Peer, Watched, millis},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/api/watch", get(watch))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchParams {
    prefix: Option<String>,
}

async fn watch(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlQuery(params): UrlQuery<WatchParams>,
    headers: HeaderMap,
) -> HandlerResult {
    let prefix = params.prefix.filter(|prefix| !prefix.is_empty());
    let prefix = prefix.map(|prefix| Name::new(&prefix)).transpose()?;
    // What no server has given is behind a gap, as is what this one does not know any more.
    let after = headers.get("last-event-id");
    let after = after.map(|id| id.to_str().ok().and_then(|id| id.parse().ok()).unwrap_or(EventId::UNKNOWN));
    let events = crate::wires::web::watch(&service, &peer, prefix, after)?;
    let body = Body::from_stream(events.map(|watched| Ok::<_, Infallible>(frame(&watched))));
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// The data of `taken`, `freed` and `lost`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LockEventJson<'a> {
    name: &'a str,
    mode: &'static str,
    session: u32,
    fencing_token: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
}

impl<'a> LockEventJson<'a> {
    fn of(event: &'a LockEvent) -> Self {
        let LockEvent { name, hold, end } = event;
        Self {
            name: name.as_str(),
            mode: hold.mode.as_str(),
            session: hold.session.0,
            fencing_token: hold.token,
            held_ms: end.map(|end| millis(end.held)),
            cause: end.map(|end| end.cause.as_str()),
            limit: hold.mode.limit(),
        }
    }
}

/// The data of `missed`.
#[derive(Serialize)]
struct MissedJson {
    /// Null if nobody knows.
    count: Option<u64>,
}

fn frame(Watched { id, told }: &Watched) -> Bytes {
    let (kind, data) = match told {
        Some(Told::Lock(event)) => (event.kind(), serde_json::to_string(&LockEventJson::of(event))),
        Some(Told::Missed(count)) => ("missed", serde_json::to_string(&MissedJson { count: *count })),
        // Without data it is no event, but the id counts.
        Some(Told::Waiting(_)) | None => return format!(": watching\nid: {id}\n\n").into(),
    };
    let mut frame = format!("event: {kind}\nid: {id}\n");
    // JSON has no line ends of its own: it is one line of data.
    let _ = write!(frame, "data: {}\n\n", data.unwrap_or_default());
    frame.into()
}
