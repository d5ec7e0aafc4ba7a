//! The interfaces of other lock services, on top of leases, so that their clients work with this server
//! (docs/migrating.md).

mod doubledutch;
pub mod netlocker;
pub mod sharelock;
mod waelson;

use std::future::ready;

use axum::{
    Router,
    http::{StatusCode, header::WWW_AUTHENTICATE},
    middleware::{map_request, map_response},
    response::Response,
};

use crate::wires::web::{AppState, AuthError, MAX_BODY, add_service};

/// The names of the gRPC services.
pub const GRPC_SERVICES: [&str; 2] = ["NetLocker.NetLockerService", "sharelock.ShareLockService"];

/// Makes the response of a service to a user who could not log in or lacks a right.
type RefusalFn = fn(StatusCode, &str) -> Response;

/// The routes of all services, each behind `authenticate`. Each service translates the refusals of that into its own
/// format.
pub(crate) fn router(state: &AppState, authenticate: impl Fn(Router) -> Router) -> Router {
    let service = |routes: Router<AppState>, refusal: RefusalFn| {
        let translate = map_response(move |response| ready(translate(response, refusal)));
        authenticate(routes.with_state(state.clone())).layer(translate)
    };
    let http = service(netlocker::routes(), netlocker::refusal)
        .merge(service(sharelock::routes(), sharelock::refusal))
        .merge(service(waelson::routes(), waelson::refusal))
        .merge(
            service(doubledutch::routes(), doubledutch::refusal)
                .layer(map_request(doubledutch::log_in_by_key)),
        );
    let netlocker = netlocker::proto::net_locker_service_server::NetLockerServiceServer::new(
        netlocker::NetLockerGrpc(state.leases.clone()),
    );
    let sharelock = sharelock::proto::share_lock_service_server::ShareLockServiceServer::new(
        sharelock::ShareLockGrpc(state.leases.clone()),
    );
    let grpc = add_service(Router::new(), netlocker.max_decoding_message_size(MAX_BODY));
    http.merge(authenticate(add_service(grpc, sharelock.max_decoding_message_size(MAX_BODY))))
}

/// Translates a refused login into the format of the service.
fn translate(response: Response, refusal: RefusalFn) -> Response {
    let Some(why) = response.extensions().get::<AuthError>() else { return response };
    let mut translated = refusal(response.status(), &why.to_string());
    if let Some(challenge) = response.headers().get(WWW_AUTHENTICATE) {
        translated.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    }
    translated
}
