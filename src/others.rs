//! The interfaces of other lock services, each over leases, so that their clients can be pointed here
//! (README, "Coming from elsewhere").

mod doubledutch;
pub mod netlocker;
pub mod sharelock;
mod waelson;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use tonic::{Request, Status};

use crate::{
    lease::Leases,
    web::{Peer, add_service},
};

/// What sessions of these clients are shown as.
const HTTP: &str = "http";
const GRPC: &str = "grpc";

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
    add_service(add_service(http, netlocker), sharelock)
}

/// Where a request by gRPC comes from.
fn peer<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|Peer(peer)| *peer).ok_or_else(|| Status::internal("the request has no sender"))
}
