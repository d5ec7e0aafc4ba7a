//! The gRPC wire: leases, and sessions that live as long as a stream. Thin, over leases and sessions.

mod hold;
mod locks;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use tonic::{Code, Request, Status};
use tonic_health::server::HealthReporter;
use tonic_reflection::server::{Builder, Error as BadDescriptors};

use self::{
    locks::Service,
    proto::{LockMode, locks_server::LocksServer},
};
use crate::{
    command::{Ending, Error, Origin},
    lease::{LeaseError, Leases},
    lock::Mode,
    name::Name,
    timeout::Timeout,
    web::{Peer, add_service},
};

/// The name of this wire.
pub const WIRE: &str = "grpc";

/// What `proto/getlockd.proto` says, as code. `tests/proto.rs` compares them.
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("grpc/generated/getlockd.v1.rs");

    pub use Mode as LockMode;

    /// All services, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!("grpc/generated/descriptors.bin");
}

/// All services.
#[derive(Debug)]
pub struct Services {
    /// Where their requests go.
    pub router: Router,
    health: HealthReporter,
}

impl Services {
    /// Over leases, with reflection and health.
    ///
    /// # Errors
    /// When the descriptors cannot be read, which a test does.
    pub fn new(leases: &Arc<Leases>) -> Result<Self, BadDescriptors> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let router = Router::new();
        let router = add_service(router, LocksServer::new(Service(leases.clone())));
        let router = add_service(router, health_server);
        let router = add_service(router, reflection().build_v1()?);
        let router = add_service(router, reflection().build_v1alpha()?);
        Ok(Self { router, health })
    }

    /// Tells those who ask for its health that the server stops.
    pub async fn stop_serving(&self) {
        self.health.set_not_serving::<LocksServer<Service>>().await;
    }
}

impl From<LeaseError> for Status {
    fn from(error: LeaseError) -> Self {
        let code = match &error {
            LeaseError::Busy => Code::Aborted,
            LeaseError::Refused(Error::Interrupted) | LeaseError::Ended(Ending::Killed(_)) => Code::Aborted,
            LeaseError::Gone => Code::NotFound,
            LeaseError::NotYours => Code::FailedPrecondition,
            LeaseError::Ttl { .. } | LeaseError::TooLong => Code::InvalidArgument,
            LeaseError::TooMany(_) | LeaseError::Refused(Error::TooManyLocks(_)) => Code::ResourceExhausted,
            LeaseError::Refused(_) | LeaseError::Ended(Ending::Shutdown) | LeaseError::NoRandom => {
                Code::Unavailable
            }
        };
        Self::new(code, error.to_string())
    }
}

/// Where a request comes from.
fn origin<T>(request: &Request<T>) -> Result<Origin, Status> {
    let peer = request.extensions().get::<Peer>();
    let Peer(peer) = *peer.ok_or_else(|| Status::internal("the request has no sender"))?;
    Ok(Origin { wire: WIRE, peer })
}

fn name(text: &str) -> Result<Name, Status> {
    Name::new(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn wait(millis: i64) -> Timeout {
    u64::try_from(millis).map_or(Timeout::Forever, |millis| Timeout::Within(Duration::from_millis(millis)))
}

fn mode(wanted: LockMode) -> Mode {
    match wanted {
        LockMode::Exclusive => Mode::Exclusive,
        LockMode::Shared => Mode::Shared,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// In milliseconds since 1970, so far from now.
fn moment(left: Duration) -> i64 {
    let since_1970 = (SystemTime::now() + left).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
