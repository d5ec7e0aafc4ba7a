//! The gRPC wire: leases, and sessions that live as long as a stream. Thin, over leases and sessions.

mod hold;
mod lists;
mod locks;

use std::{sync::Arc, time::SystemTime};

use axum::Router;
use tokio::time::Instant;
use tonic::{Code, Request, Status, server::NamedService};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::{Builder, Error as BadDescriptors};

use self::{
    locks::Service,
    proto::{LockMode, locks_server::LocksServer},
};
use crate::{
    core::{
        client_info::Wire,
        command::{EndReason, Error},
        lease::{Client, LeaseError, Leases},
        lock::Mode,
        share::NoPlace,
    },
    name::Name,
    wires::web::{MAX_BODY, add_service, peer_of, wall_clock},
};

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
    names: Vec<&'static str>,
}

impl Services {
    /// Over leases, with reflection, and with health: of these, and of the services named `others`.
    ///
    /// # Errors
    /// When the descriptors cannot be read, which a test does.
    pub fn new(leases: &Arc<Leases>, others: &[&'static str]) -> Result<Self, BadDescriptors> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let router = Router::new();
        let router = add_service(
            router,
            LocksServer::new(Service(leases.clone())).max_decoding_message_size(MAX_BODY),
        );
        let router = add_service(router, health_server.max_decoding_message_size(MAX_BODY));
        let router = add_service(router, reflection().build_v1()?.max_decoding_message_size(MAX_BODY));
        let router = add_service(router, reflection().build_v1alpha()?.max_decoding_message_size(MAX_BODY));
        // The empty name is the server's own.
        let names = ["", LocksServer::<Service>::NAME].iter().chain(others).copied().collect();
        Ok(Self { router, health, names })
    }

    /// Tells those who ask for its health that the server serves.
    pub async fn serve(&self) {
        self.tell(ServingStatus::Serving).await;
    }

    /// The same when it stops.
    pub async fn stop(&self) {
        self.tell(ServingStatus::NotServing).await;
    }

    async fn tell(&self, status: ServingStatus) {
        for name in &self.names {
            self.health.set_service_status(name, status).await;
        }
    }
}

impl From<NoPlace> for Status {
    fn from(no_place: NoPlace) -> Self {
        Self::resource_exhausted(no_place.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Interrupted => Code::Aborted,
            Error::Forbidden(_) => Code::PermissionDenied,
            Error::NoSession(_) => Code::NotFound,
            Error::TooManyLocks(_)
            | Error::TooManyWaiters(_)
            | Error::NoPlace(_)
            | Error::TooMuchMemory(_) => Code::ResourceExhausted,
            Error::Deadlock(_) | Error::Stopping | Error::NoLogin | Error::BadLogin(_) | Error::OtherUser => {
                Code::Unavailable
            }
        };
        // As clients of this wire know what they sent.
        let message = match error {
            Error::NoSession(id) => format!("there is no session {id}; Sessions lists them"),
            Error::Interrupted => "Kill with cancel_wait cancelled this wait".to_owned(),
            other => other.to_string(),
        };
        Self::new(code, message)
    }
}

impl From<LeaseError> for Status {
    fn from(error: LeaseError) -> Self {
        let code = match &error {
            LeaseError::Refused(error) => return error.clone().into(),
            LeaseError::Busy | LeaseError::Ended(EndReason::Killed(_)) => Code::Aborted,
            LeaseError::Ended(EndReason::Revoked) => Code::PermissionDenied,
            LeaseError::HungUp => Code::Cancelled,
            LeaseError::Gone => Code::NotFound,
            LeaseError::NotYours => Code::FailedPrecondition,
            LeaseError::RequestIdTaken => Code::AlreadyExists,
            LeaseError::Ttl { .. } | LeaseError::TooLong | LeaseError::BadRequestId => Code::InvalidArgument,
            LeaseError::NoPlace(_) => Code::ResourceExhausted,
            LeaseError::Ended(EndReason::Shutdown) | LeaseError::NoRandom => Code::Unavailable,
        };
        // As clients of this wire know what they sent.
        let message = match &error {
            LeaseError::Busy => "the lock is held; wait longer (wait_ms), or try again".to_owned(),
            LeaseError::Ttl { min, max } => {
                let (min, max) = (min.as_millis(), max.as_millis());
                format!("ttl_ms: a lease runs for {min} to {max} ms (--lease-min, --lease-max)")
            }
            LeaseError::BadRequestId | LeaseError::RequestIdTaken => format!("request_id: {error}"),
            other => other.to_string(),
        };
        Self::new(code, message)
    }
}

/// Who sends a request.
fn client<T>(request: &Request<T>) -> Result<Client, Status> {
    peer_of(request).map(|peer| peer.client(Wire::Grpc))
}

fn name(text: &str) -> Result<Name, Status> {
    Name::new(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// As the number that was sent.
fn mode(wanted: i32) -> Result<Mode, Status> {
    match LockMode::try_from(wanted) {
        Ok(LockMode::Exclusive) => Ok(Mode::Exclusive),
        Ok(LockMode::Shared) => Ok(Mode::Shared),
        Err(_) => Err(Status::invalid_argument("mode: use EXCLUSIVE or SHARED")),
    }
}

/// As it is told.
fn lock_mode(mode: Mode) -> i32 {
    if mode == Mode::Shared { LockMode::Shared } else { LockMode::Exclusive }.into()
}

fn moment(time: Instant) -> i64 {
    since_1970(wall_clock(time))
}

/// In milliseconds.
fn since_1970(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
