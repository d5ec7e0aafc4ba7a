//! One-word forms for curl: a token or `false`, `released` or `false`.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use getlockd_proto::timeout::{BadTimeout, Timeout};
use serde::Deserialize;

use super::{
    api::name,
    json::{Asked, Failure, Named},
};
use crate::{
    core::{
        client_info::Wire,
        lease::{LeaseError, LeaseRequest, Leases, Secret},
    },
    wires::web::{Peer, handing_out},
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
    #[serde(default)]
    wait: String,
    #[serde(default)]
    ttl: String,
}

async fn get_lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(resource): Named<String>,
    Asked(times): Asked<Times>,
) -> Result<Response, Failure> {
    let (wait, ttl) = (wait(&times.wait)?, ttl(&times.ttl)?);
    let request = LeaseRequest { wait, ttl, ..LeaseRequest::of(name(&resource)?) };
    match leases.lend(request, peer.client(Wire::Http)).await {
        Ok((grant, secret)) => {
            Ok(handing_out(Some(grant.delivery), secret.reveal().to_owned().into_response()))
        }
        Err(LeaseError::Busy) => Ok("false".into_response()),
        Err(error) => Err(error.into()),
    }
}

/// Empty is as if it were left out.
fn wait(text: &str) -> Result<Timeout, Failure> {
    let text = if text.is_empty() { "0" } else { text };
    text.parse().map_err(|error: BadTimeout| Failure::bad_request(format!("wait: {error}")))
}

fn ttl(text: &str) -> Result<Option<Duration>, Failure> {
    match text.parse() {
        _ if text.is_empty() => Ok(None),
        Ok(Timeout::Within(ttl)) => Ok(Some(ttl)),
        _ => Err(Failure::bad_request(
            "ttl: say seconds, such as 45, or with a unit (ms, s, m, h) 500ms or 2m",
        )),
    }
}

async fn release_lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named((resource, token)): Named<(String, String)>,
) -> Result<&'static str, Failure> {
    let name = name(&resource)?;
    let free = |secret: Secret| leases.release(&secret.key(), &name, peer.viewer()).is_ok();
    let released = token.parse().is_ok_and(free);
    Ok(if released { "released" } else { "false" })
}
