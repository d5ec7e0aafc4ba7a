//! `/api/store`: the leases in the store, and how it is (protocol.md, part 8).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Extension, Router, extract::State, http::StatusCode, routing::get};
use getlockd_proto::moment::rfc3339;
use serde::Serialize;

use super::handler::{ApiError, PageJson, PageParams, UrlQuery, list};
use crate::{
    core::{
        command::{StoredLeaseRow, StoredLeases},
        lease::Leases,
        session::{DurableLeases, LockService},
        store::{DurableLease, Floors, StoreReport},
    },
    wires::web::{AppState, GuardedResponse, Peer, millis, wall_clock},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/api/store", get(store))
}

/// Cancel-safe: dropped, it drops the list.
async fn store(
    State(service): State<Arc<LockService>>,
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    UrlQuery(params): UrlQuery<PageParams>,
) -> Result<GuardedResponse, ApiError> {
    let page = params.page()?;
    let writer = leases.writer().cloned().ok_or_else(no_store)?;
    list(&service, &peer, DurableLeases { writer, page }, StoreJson::of).await
}

fn no_store() -> ApiError {
    let message = "this server has no store: its leases end with it; start it with --store FILE".to_owned();
    ApiError { code: StatusCode::NOT_FOUND, status: "NotFound", message }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreJson {
    writable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    commits: u64,
    changes: u64,
    #[serde(flatten)]
    floors: FloorsJson,
    leases: Vec<StoredLeaseJson>,
    #[serde(flatten)]
    page: PageJson,
}

impl StoreJson {
    fn of(stored: &StoredLeases) -> Self {
        let StoredLeases { report, leases } = stored;
        let StoreReport { is_good, failing_since, bytes, floors, commits, changes } = *report;
        let row = |row: &StoredLeaseRow| StoredLeaseJson::of(&row.lease, row.expires.map(wall_clock));
        Self {
            writable: is_good,
            failed_at: failing_since.map(|since| rfc3339(SystemTime::now() - since.elapsed())),
            bytes,
            commits,
            changes,
            floors: floors.into(),
            leases: leases.rows.iter().map(row).collect(),
            page: PageJson::of(leases, StoredLeaseRow::key),
        }
    }
}

/// Where numbers go on after a crash.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FloorsJson {
    fencing_token_floor: u64,
    session_floor: u32,
}

impl From<Floors> for FloorsJson {
    fn from(Floors { token, session }: Floors) -> Self {
        Self { fencing_token_floor: token, session_floor: session }
    }
}

/// A lease in a store. Its key is left out: it is the digest of a secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredLeaseJson {
    name: String,
    /// Of a lease of several locks, those behind the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_names: Vec<String>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    fencing_token: u64,
    session: u32,
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    acquired_at: String,
    ttl_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl StoredLeaseJson {
    pub(crate) fn of(lease: &DurableLease, expires: Option<SystemTime>) -> Self {
        Self {
            name: lease.names.first().as_str().to_owned(),
            other_names: lease.names.others().iter().map(|name| name.as_str().to_owned()).collect(),
            mode: lease.mode.to_string(),
            limit: lease.mode.limit(),
            fencing_token: lease.token,
            session: lease.session.0,
            wire: lease.origin.wire.as_str(),
            peer: lease.origin.peer.to_string(),
            client: Some(lease.client.clone()).filter(|client| !client.is_empty()),
            user: lease.user.clone(),
            note: lease.note.clone(),
            acquired_at: shown(SystemTime::UNIX_EPOCH + Duration::from_millis(lease.granted_ms)),
            ttl_ms: millis(lease.ttl),
            expires_at: expires.map(shown),
        }
    }
}

/// A moment that came from a file. Years have four digits.
fn shown(moment: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    rfc3339(moment.min(last))
}
