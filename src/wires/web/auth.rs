//! Who sends a request: checked before anything is done for him.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;
use tonic::Status;

use super::Peer;
use crate::core::{
    session::LockService,
    share::QuotaExceeded,
    users::{Credentials, Denied, Proof, User, Users},
};

/// What everybody may ask, with or without a login: whether the server lives.
const OPEN: [&str; 4] =
    ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

/// What clients are told who do not say who they are, or say it wrong.
const ASK: &str = "Basic realm=\"getlockd\"";

/// Notes who sends a request, or refuses it.
///
/// Cancel-safe: dropped, nothing was done.
pub(crate) async fn authenticate(
    State(service): State<Arc<LockService>>,
    mut request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let from = request.extensions().get::<Peer>().map(|peer| peer.connection.addr.ip());
    let is_grpc = is_grpc(request.headers());
    let (Some(from), Some(users)) = (from, service.users()) else { return refused(Why::Nobody, is_grpc) };
    let user = match who(users, from, request.headers()).await {
        Ok(user) => user,
        Err(why) => {
            if let Why::Denied(denied) = why {
                service.recorder().refused(denied.into());
            }
            return refused(why, is_grpc);
        }
    };
    if let Some(peer) = request.extensions_mut().get_mut::<Peer>()
        && let Err(quota_exceeded) = peer.authenticate_as(user)
    {
        return refused(Why::QuotaExceeded(quota_exceeded), is_grpc);
    }
    next.run(request).await
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Why {
    #[error("log in: Authorization: Basic base64(user:password), or Bearer with the token of a user")]
    Nobody,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
}

async fn who(users: &Users, from: IpAddr, headers: &HeaderMap) -> Result<Arc<User>, Why> {
    match login(headers).ok_or(Why::Nobody)? {
        Login::Basic(Credentials { name, password }) => {
            Ok(users.log_in(from, &name, &Proof::Password(&password)).await?)
        }
        Login::Bearer(token) => Ok(users.log_in_by_token(from, token.as_bytes()).await?),
    }
}

enum Login {
    Basic(Credentials),
    Bearer(String),
}

/// What the header says (RFC 7617, RFC 6750).
fn login(headers: &HeaderMap) -> Option<Login> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Login::Bearer(rest.to_owned()));
    }
    let decoded = BASE64_STANDARD.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = memchr::memchr(b':', &decoded)?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    Some(Login::Basic(Credentials { name, password: decoded[colon + 1..].to_vec() }))
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Goes with a response to one who is not let in: why. It can be said in other words.
#[derive(Clone, Debug)]
pub(crate) struct AuthFailure(pub(crate) String);

fn refused(why: Why, is_grpc: bool) -> Response {
    let (is_busy, is_short) =
        (matches!(why, Why::Denied(Denied::TooMany)), matches!(why, Why::QuotaExceeded(_)));
    if is_grpc {
        let status: fn(String) -> Status =
            if is_busy || is_short { Status::resource_exhausted } else { Status::unauthenticated };
        return status(why.to_string()).into_http::<axum::body::Body>();
    }
    let (code, status) = if is_busy {
        (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
    } else if is_short {
        (StatusCode::SERVICE_UNAVAILABLE, "Unavailable")
    } else {
        (StatusCode::UNAUTHORIZED, "Unauthorized")
    };
    let told = json!({ "success": false, "status": status, "message": why.to_string() });
    let mut response = (code, Json(told)).into_response();
    response.extensions_mut().insert(AuthFailure(why.to_string()));
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(ASK));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(header: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(header))]);
        login(&headers).map(|login| match login {
            Login::Basic(Credentials { name, password }) => {
                format!("{name} {}", String::from_utf8(password).unwrap())
            }
            Login::Bearer(token) => token,
        })
    }

    #[test]
    fn logins_are_read_from_the_header() {
        assert_eq!(read("Basic YXBwMTpzZWM6cmV0").unwrap(), "app1 sec:ret");
        assert_eq!(read("basic  YXBwMTo=").unwrap(), "app1 ");
        assert_eq!(read("BEARER abc").unwrap(), "abc");
        for wrong in ["", "Basic", "Basic ???", "Basic YXBwMQ==", "Digest abc", "Bearer"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
