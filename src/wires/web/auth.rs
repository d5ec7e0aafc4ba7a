//! Authentication of requests: Basic with a password, or Bearer with the token of a user.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use tonic::Status;

use super::{
    Peer,
    grpc_service::is_grpc,
    json::{StatusJson, json},
};
use crate::core::{
    session::LockService,
    share::QuotaExceeded,
    users::{Credentials, Denied, Proof, User, Users},
};

/// Where a browser forgets who its user is.
pub(crate) const LOGOUT: &str = "/logout";

/// Paths that need no login: health checks, and the one that ends a login.
const PUBLIC_PATHS: [&str; 5] =
    ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", LOGOUT];

/// The challenge to clients without a login, or with a wrong one.
pub(crate) const CHALLENGE: &str = "Basic realm=\"getlockd\"";

/// What a browser shows to a person who cancels the login.
const TO_PEOPLE: &str = "Log in with the name and the password of a user of this server. Tokens are for programs and do not work \
     here; the operator of the server can give you a password (getlockd user). Reload this page to try again.\n";

/// The layer that authenticates requests: it sets the user of a request, or refuses it.
///
/// Cancel-safe: dropped, it has changed nothing.
pub(crate) async fn authenticate(
    State(service): State<Arc<LockService>>,
    mut request: Request,
    next: Next,
) -> Response {
    if PUBLIC_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let from = request.extensions().get::<Peer>().map(|peer| peer.connection.addr.ip());
    let asker = Asker::of(request.headers());
    let (Some(from), Some(users)) = (from, service.users()) else {
        return refusal(AuthError::NoCredentials, asker);
    };
    let user = match log_in(users, from, request.headers()).await {
        Ok(user) => user,
        Err(why) => {
            if let AuthError::Denied(denied) = why {
                service.recorder().refused(denied.into());
            }
            return refusal(why, asker);
        }
    };
    if let Some(peer) = request.extensions_mut().get_mut::<Peer>()
        && let Err(quota_exceeded) = peer.authenticate_as(user)
    {
        return refusal(AuthError::QuotaExceeded(quota_exceeded), asker);
    }
    next.run(request).await
}

/// Why a request is refused. The response also carries it in its extensions, for the interfaces of other services, which
/// have their own error format.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("login required: send Authorization: Basic base64(user:password), or Bearer with a user's token")]
    NoCredentials,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
}

/// Cancel-safe: dropped, it has changed nothing.
async fn log_in(users: &Users, from: IpAddr, headers: &HeaderMap) -> Result<Arc<User>, AuthError> {
    match credentials(headers).ok_or(AuthError::NoCredentials)? {
        Authorization::Basic(Credentials { name, password }) => {
            Ok(users.log_in(from, &name, &Proof::Password(&password)).await?)
        }
        Authorization::Bearer(token) => Ok(users.log_in_by_token(from, token.as_bytes()).await?),
    }
}

/// The credentials of a request.
enum Authorization {
    Basic(Credentials),
    Bearer(String),
}

/// The credentials in the `Authorization` header (RFC 7617, RFC 6750).
fn credentials(headers: &HeaderMap) -> Option<Authorization> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Authorization::Bearer(rest.to_owned()));
    }
    let decoded = BASE64_STANDARD.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = memchr::memchr(b':', &decoded)?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    Some(Authorization::Basic(Credentials { name, password: decoded[colon + 1..].to_vec() }))
}

/// Who reads a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Grpc,
    /// A person with a browser.
    Browser,
    Program,
}

impl Asker {
    fn of(headers: &HeaderMap) -> Self {
        match is_grpc(headers) {
            true => Self::Grpc,
            false if accepts_html(headers) => Self::Browser,
            false => Self::Program,
        }
    }
}

/// Whether a browser asks for a page.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accepted| accepted.to_str().ok());
    accepted.flat_map(|accepted| accepted.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

fn refusal(why: AuthError, asker: Asker) -> Response {
    let (is_busy, is_short) =
        (matches!(why, AuthError::Denied(Denied::TooMany)), matches!(why, AuthError::QuotaExceeded(_)));
    if asker == Asker::Grpc {
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
    let mut response = match asker {
        Asker::Browser if code == StatusCode::UNAUTHORIZED => (code, TO_PEOPLE).into_response(),
        _ => json(code, &StatusJson { success: false, status, message: &why.to_string() }),
    };
    response.extensions_mut().insert(why);
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(header: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(header))]);
        credentials(&headers).map(|login| match login {
            Authorization::Basic(Credentials { name, password }) => {
                format!("{name} {}", String::from_utf8(password).unwrap())
            }
            Authorization::Bearer(token) => token,
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
