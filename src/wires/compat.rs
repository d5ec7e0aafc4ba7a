//! The interfaces of other lock services, each over leases, so that their clients can be pointed here
//! (README, "Coming from elsewhere").

mod doubledutch;
pub mod netlocker;
pub mod sharelock;
mod waelson;

use std::{future::ready, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header::WWW_AUTHENTICATE},
    middleware::{map_request, map_response},
    response::Response,
};

use crate::{
    core::lease::Leases,
    wires::web::{AuthFailure, MAX_BODY, add_service},
};

/// The names of those that speak gRPC.
pub const GRPC_SERVICES: [&str; 2] = ["NetLocker.NetLockerService", "sharelock.ShareLockService"];

/// How a service says that somebody is not let in, or may not do what he asks for.
type Words = fn(StatusCode, &str) -> Response;

/// All of them, each behind `admit`.
pub fn router(leases: &Arc<Leases>, admit: impl Fn(Router) -> Router) -> Router {
    let service = |routes: Router<Arc<Leases>>, words: Words| {
        let in_words = map_response(move |told| ready(in_words(told, words)));
        admit(routes.with_state(leases.clone())).layer(in_words)
    };
    let http = service(netlocker::routes(), netlocker::refusal)
        .merge(service(sharelock::routes(), sharelock::refusal))
        .merge(service(waelson::routes(), waelson::refusal))
        .merge(
            service(doubledutch::routes(), doubledutch::refusal)
                .layer(map_request(doubledutch::log_in_by_key)),
        );
    let netlocker = netlocker::proto::net_locker_service_server::NetLockerServiceServer::new(
        netlocker::Service(leases.clone()),
    );
    let sharelock = sharelock::proto::share_lock_service_server::ShareLockServiceServer::new(
        sharelock::Service(leases.clone()),
    );
    let netlocker = netlocker.max_decoding_message_size(MAX_BODY);
    let grpc = add_service(Router::new(), netlocker);
    http.merge(admit(add_service(grpc, sharelock.max_decoding_message_size(MAX_BODY))))
}

/// One who was not let in is told so in the words of the service.
fn in_words(told: Response, words: Words) -> Response {
    let Some(AuthFailure(why)) = told.extensions().get() else { return told };
    let mut reworded = words(told.status(), why);
    if let Some(ask) = told.headers().get(WWW_AUTHENTICATE) {
        reworded.headers_mut().insert(WWW_AUTHENTICATE, ask.clone());
    }
    reworded
}
