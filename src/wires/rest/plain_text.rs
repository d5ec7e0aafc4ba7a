//! One-word forms for curl: a token or `false`, `released` or `false`.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, extract::State, routing::get};
use getlockd_proto::timeout::{BadTimeout, Timeout};
use serde::Deserialize;

use super::handler::{ApiError, UrlPath, UrlQuery};
use crate::{
    core::{
        client_info::Wire,
        command::Error,
        lease::{Grant, LeaseError, LeaseRequest, Leases, Secret},
        lock::Mode,
    },
    name::Name,
    wires::web::{AppState, GuardedResponse, Peer},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/getLock/{name}", get(get_lock))
        .route("/releaseLock/{name}/{token}", get(release_lock))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GetLockParams {
    /// A timeout as in GET_LOCK: `10`, `500ms`.
    #[serde(default)]
    wait: String,
    #[serde(default)]
    ttl: String,
    /// For one of so many permits.
    #[serde(default)]
    limit: String,
}

async fn get_lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    UrlPath(resource): UrlPath<String>,
    UrlQuery(params): UrlQuery<GetLockParams>,
) -> Result<GuardedResponse, ApiError> {
    let (wait, ttl, mode) = (wait(&params.wait)?, ttl(&params.ttl)?, mode(&params.limit)?);
    let request = LeaseRequest { mode, wait, ttl, ..LeaseRequest::of(Name::new(&resource)?) };
    match leases.acquire(request, peer.client(Wire::Http)).await {
        Ok((Grant { delivery, .. }, secret)) => {
            Ok(GuardedResponse::granted(delivery, secret.reveal().to_owned()))
        }
        Err(LeaseError::Busy(_)) => Ok(GuardedResponse::unguarded("false")),
        Err(error) => Err(error.into()),
    }
}

/// The time to wait. An empty value is the same as none: try once.
fn wait(text: &str) -> Result<Timeout, ApiError> {
    let text = if text.is_empty() { "0" } else { text };
    text.parse().map_err(|error: BadTimeout| ApiError::bad_request(format!("wait: {error}")))
}

fn ttl(text: &str) -> Result<Option<Duration>, ApiError> {
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(Timeout::Within(ttl)) => Ok(Some(ttl)),
        _ => Err(ApiError::bad_request(
            "ttl: expected seconds (45), or a number with a unit (500ms, 45s, 2m, 1h)",
        )),
    }
}

/// Exclusive without a limit.
fn mode(limit: &str) -> Result<Mode, ApiError> {
    match limit.parse() {
        _ if limit.is_empty() => Ok(Mode::Exclusive),
        Ok(limit @ 1..) => Ok(Mode::Permit(limit)),
        _ => Err(ApiError::bad_request("limit: use 1 to 65535 permits")),
    }
}

async fn release_lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    UrlPath((resource, token)): UrlPath<(String, String)>,
) -> Result<&'static str, ApiError> {
    let name = Name::new(&resource)?;
    let Ok(secret) = token.parse::<Secret>() else { return Ok("false") };
    match leases.release(&secret.key(), &name, peer.principal()).await {
        Ok(()) => Ok("released"),
        Err(error @ (LeaseError::NotWritten(_) | LeaseError::Refused(Error::NotWritten))) => {
            Err(error.into())
        }
        Err(_) => Ok("false"),
    }
}
