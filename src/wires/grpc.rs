//! The gRPC wire: leases, and sessions that live as long as a stream.

mod hold;
mod locks;
mod watch;

use std::time::SystemTime;

use axum::Router;
use getlockd_proto::name::NameError;
use tokio::time::Instant;
use tonic::{Status, server::NamedService};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::{Builder, Error as BadDescriptors};

use self::{
    locks::LocksService,
    proto::{LockMode, locks_server::LocksServer},
};
use crate::{
    core::{
        command::{Error, MAX_NAMES},
        lease::LeaseNames,
        lock::Mode,
    },
    name::Name,
    wires::web::{AppState, MAX_BODY, add_service, wall_clock},
};

/// The code generated from `proto/getlockd.proto`. `tests/it/proto.rs` compares them.
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("generated/getlockd.v1.rs");

    pub use Mode as LockMode;

    /// The descriptors of all services, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
}

/// All gRPC services.
#[derive(Debug)]
pub struct Services {
    /// The routes of the services.
    pub router: Router,
    health: HealthReporter,
    names: Vec<&'static str>,
}

impl Services {
    /// The service `Locks`, reflection, and the health of these and of the services named `others`.
    ///
    /// # Errors
    /// An error if the built-in descriptors cannot be read; a test reads them.
    pub(crate) fn new(state: AppState, others: &[&'static str]) -> Result<Self, BadDescriptors> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = || {
            Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let router = Router::new();
        let router =
            add_service(router, LocksServer::new(LocksService(state)).max_decoding_message_size(MAX_BODY));
        let router = add_service(router, health_server.max_decoding_message_size(MAX_BODY));
        let router = add_service(router, reflection().build_v1()?.max_decoding_message_size(MAX_BODY));
        let router = add_service(router, reflection().build_v1alpha()?.max_decoding_message_size(MAX_BODY));
        // The empty name stands for the server itself.
        let names = ["", LocksServer::<LocksService>::NAME].iter().chain(others).copied().collect();
        Ok(Self { router, health, names })
    }

    /// Sets the health of all services to serving.
    ///
    /// Cancel-safe: dropped, it may leave some services as they were.
    pub async fn serve(&self) {
        self.set_health(ServingStatus::Serving).await;
    }

    /// Sets the health of all services to not serving, when the server stops.
    ///
    /// Cancel-safe as [`Services::serve`].
    pub async fn stop(&self) {
        self.set_health(ServingStatus::NotServing).await;
    }

    async fn set_health(&self, status: ServingStatus) {
        for name in &self.names {
            self.health.set_service_status(name, status).await;
        }
    }
}

fn name(text: &str) -> Result<Name, Status> {
    Name::new(text).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// The locks that a message names: `name` or `names`.
fn names(one: &str, several: &[String]) -> Result<LeaseNames, NamesError> {
    if several.is_empty() {
        return Ok(Name::new(one)?.into());
    }
    if !one.is_empty() {
        return Err(NamesError::Both);
    }
    if several.len() > MAX_NAMES {
        return Err(NamesError::TooMany);
    }
    let names: Vec<_> = several.iter().map(|name| Name::new(name)).collect::<Result<_, _>>()?;
    // There is one.
    LeaseNames::new(names).ok_or(NamesError::Name(NameError::Empty))
}

/// Why a message names no locks.
#[derive(Debug, thiserror::Error)]
enum NamesError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("send name or names, not both")]
    Both,
    #[error("{}", Error::TooManyNames)]
    TooMany,
}

/// The mode for a number of the protocol, and for the limit of permits.
fn mode(number: i32, limit: Option<u32>, names: &LeaseNames) -> Result<Mode, &'static str> {
    match (LockMode::try_from(number), limit) {
        (Ok(LockMode::Exclusive), None) => Ok(Mode::Exclusive),
        (Ok(LockMode::Shared), None) => Ok(Mode::Shared),
        (Ok(LockMode::Permit), _) if !names.others().is_empty() => Err("a permit is of one lock; send name"),
        (Ok(LockMode::Permit), Some(limit)) => match limit.try_into() {
            Ok(limit @ 1..) => Ok(Mode::Permit(limit)),
            _ => Err("limit: use 1 to 65535 permits"),
        },
        (Ok(LockMode::Permit), None) => Err("limit: mode PERMIT needs this field, such as 3"),
        (Ok(_), Some(_)) => Err("limit: only mode PERMIT takes this field"),
        (Err(_), _) => Err("mode: use EXCLUSIVE, SHARED or PERMIT"),
    }
}

/// The number of a mode in the protocol.
fn lock_mode(mode: Mode) -> i32 {
    match mode {
        Mode::Exclusive => LockMode::Exclusive,
        Mode::Shared => LockMode::Shared,
        Mode::Permit(_) => LockMode::Permit,
    }
    .into()
}

/// A future moment, in milliseconds since 1970.
fn moment(time: Instant) -> i64 {
    since_1970(wall_clock(time))
}

/// A wall-clock time, in milliseconds since 1970.
fn since_1970(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
