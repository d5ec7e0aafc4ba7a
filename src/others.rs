//! The interfaces of other lock services, each over leases, so that their clients can be pointed here
//! (README, "Coming from elsewhere").

mod doubledutch;
pub mod netlocker;
pub mod sharelock;
mod waelson;

use std::sync::Arc;

use axum::Router;

use crate::{
    lease::Leases,
    web::{MAX_BODY, add_service},
};

/// What sessions of these clients are shown as.
const HTTP: &str = "http";
const GRPC: &str = "grpc";

/// The names of those that speak gRPC.
pub const GRPC_SERVICES: [&str; 2] = ["NetLocker.NetLockerService", "sharelock.ShareLockService"];

/// All of them.
pub fn router(leases: &Arc<Leases>) -> Router {
    let http = netlocker::routes()
        .merge(sharelock::routes())
        .merge(waelson::routes())
        .merge(doubledutch::routes())
        .with_state(leases.clone());
    let netlocker = netlocker::proto::net_locker_service_server::NetLockerServiceServer::new(
        netlocker::Service(leases.clone()),
    );
    let sharelock = sharelock::proto::share_lock_service_server::ShareLockServiceServer::new(
        sharelock::Service(leases.clone()),
    );
    let netlocker = netlocker.max_decoding_message_size(MAX_BODY);
    add_service(add_service(http, netlocker), sharelock.max_decoding_message_size(MAX_BODY))
}
