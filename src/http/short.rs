//! One-word forms for curl: a token or `false`, `released` or `false`.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use super::{
    WIRE,
    api::name,
    json::{Asked, Failure},
};
use crate::{
    command::Origin,
    lease::{LeaseError, Leases, Secret, Wish},
    timeout::Timeout,
    web::{Peer, delivering},
};

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/getLock/{name}", get(get_lock))
        .route("/releaseLock/{name}/{token}", get(release_lock))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    /// As GET_LOCK takes it: `10`, `500ms`.
    wait: Option<String>,
    ttl: Option<String>,
}

async fn get_lock(
    State(leases): State<Arc<Leases>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(resource): Path<String>,
    Asked(times): Asked<Times>,
) -> Result<Response, Failure> {
    let wait = times.wait.as_deref().unwrap_or("0").parse().map_err(Failure::bad_request)?;
    let ttl = times.ttl.as_deref().map(ttl).transpose()?;
    let secret = Secret::random().map_err(LeaseError::from)?;
    let wish = Wish { wait, ttl, ..Wish::of(name(&resource)?) };
    match leases.acquire(wish, secret.key(), Origin { wire: WIRE, peer }).await {
        Ok(grant) => Ok(delivering(grant, secret.reveal().to_owned().into_response())),
        Err(LeaseError::Busy) => Ok("false".into_response()),
        Err(error) => Err(error.into()),
    }
}

fn ttl(text: &str) -> Result<Duration, Failure> {
    match text.parse() {
        Ok(Timeout::Within(ttl)) => Ok(ttl),
        _ => Err(Failure::bad_request(
            "ttl: say seconds, such as 45, or with a unit (ms, s, m, h) 500ms or 2m",
        )),
    }
}

async fn release_lock(
    State(leases): State<Arc<Leases>>,
    Path((resource, token)): Path<(String, String)>,
) -> Result<&'static str, Failure> {
    let name = name(&resource)?;
    let released = token.parse::<Secret>().is_ok_and(|secret| leases.release(&secret.key(), &name).is_ok());
    Ok(if released { "released" } else { "false" })
}
