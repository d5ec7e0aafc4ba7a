//! The service `Locks` (proto/getlockd.proto).

use std::{sync::Arc, time::Duration};

use getlockd_proto::timeout::Timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    client, hold, lists, lock_mode, mode, moment, name,
    proto::{
        AcquireRequest, AcquireResponse, HistoryRequest, HistoryResponse, HoldRequest, HoldResponse,
        KillRequest, KillResponse, ListRequest, ListResponse, Lock, ReleaseRequest, ReleaseResponse,
        RenewRequest, RenewResponse, SessionsRequest, SessionsResponse, StatsRequest, StatsResponse,
        StatusRequest, StatusResponse, WaitersRequest, WaitersResponse, WhyRequest, WhyResponse,
        locks_server::Locks,
    },
};
use crate::{
    core::{
        command::LockRow,
        lease::{LeaseRequest, Leases, NotSecret, RequestId, Secret},
        session::{self, History, Holders, Sessions, Waiters, Why},
    },
    wires::web::{deadline, is_counted_elsewhere, message, millis, peer_of},
};

/// The most holds that Status lists.
const MAX_HOLDS: usize = 1_000;

/// Of an answer that hands out nothing.
const NO_PLACE: Option<Arc<()>> = None;

/// The service, over all leases.
#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) Arc<Leases>);

#[tonic::async_trait]
impl Locks for Service {
    type HoldStream = ReceiverStream<Result<HoldResponse, Status>>;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Result<Response<AcquireResponse>, Status> {
        let client = client(&request)?;
        let wanted = request.into_inner();
        let request = LeaseRequest {
            name: name(&wanted.name)?,
            mode: mode(wanted.mode)?,
            wait: Timeout::from_millis(wanted.wait_ms.into()),
            ttl: wanted.ttl_ms.map(Duration::from_millis),
            client: wanted.client,
            note: wanted.note,
            request: wanted.request_id.map(RequestId::new).transpose()?,
        };
        let name = request.name.clone();
        let (grant, secret) = self.0.lend(request, client).await?;
        let answer = AcquireResponse {
            lease_token: secret.reveal().to_owned(),
            fencing_token: grant.token,
            expires_at_ms: moment(grant.ends),
            waited_ms: millis(grant.waited),
            waiters: self.0.hub().queue_of(&name).0 as u64,
        };
        Ok(message(answer, Some(grant.delivery)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let RenewRequest { name: lock, lease_token, ttl_ms } = request.into_inner();
        let (key, ttl) = (secret(&lease_token)?.key(), ttl_ms.map(Duration::from_millis));
        let renewed = self.0.renew(&key, &name(&lock)?, ttl, peer.viewer())?;
        Ok(Response::new(RenewResponse {
            expires_at_ms: moment(renewed.ends),
            fencing_token: renewed.token,
            waiters: renewed.waiters as u64,
            first_waited_ms: renewed.first_waited.map(millis),
        }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let ReleaseRequest { name: lock, lease_token } = request.into_inner();
        self.0.release(&secret(&lease_token)?.key(), &name(&lock)?, peer.viewer())?;
        Ok(Response::new(ReleaseResponse {}))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let name = name(&request.get_ref().name)?;
        let holds = lists::query(&self.0, &request, &Holders { name, limit: MAX_HOLDS })?;
        let total = holds.total as u64;
        let holds = holds.rows.into_iter().map(Lock::from).collect();
        Ok(message(StatusResponse { holds, total }, NO_PLACE))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let ListRequest { prefix, limit, after } = request.get_ref();
        let page = lists::page(*limit, after.as_deref())?;
        let prefix = if prefix.is_empty() { None } else { Some(name(prefix)?) };
        lists::list(&self.0, &request, session::Locks { prefix, page }).await
    }

    async fn waiters(&self, request: Request<WaitersRequest>) -> Result<Response<WaitersResponse>, Status> {
        let WaitersRequest { name: lock, limit, after } = request.get_ref();
        let (name, page) = (name(lock)?, lists::page(*limit, after.as_deref())?);
        lists::list(&self.0, &request, Waiters { name, page }).await
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        let name = name(&request.get_ref().name)?;
        lists::list(&self.0, &request, Why { name }).await
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        let HistoryRequest { name: lock, limit, after } = request.get_ref();
        let (name, page) = (name(lock)?, lists::page(*limit, after.as_deref())?);
        let holds = lists::query(&self.0, &request, &History { name: Some(name), page })?;
        Ok(message(HistoryResponse::from(holds), NO_PLACE))
    }

    async fn sessions(
        &self,
        request: Request<SessionsRequest>,
    ) -> Result<Response<SessionsResponse>, Status> {
        let SessionsRequest { limit, after } = request.get_ref();
        let page = lists::page(*limit, after.as_deref())?;
        lists::list(&self.0, &request, Sessions { page }).await
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let stats = client(&request)?.open(self.0.hub()).stats()?;
        Ok(message(StatsResponse::from(stats), NO_PLACE))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillResponse>, Status> {
        lists::kill(&self.0, &request).await
    }

    async fn hold(
        &self,
        request: Request<Streaming<HoldRequest>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let deadline = deadline(request.metadata().as_ref())?;
        let client = client(&request)?;
        let place = self.0.place(&client)?;
        let peer = peer_of(&request)?;
        let (left, budget) = (peer.left(), peer.budget().clone());
        // It stays for as long as it likes, among the leases.
        is_counted_elsewhere(request.extensions());
        let session = client.open(self.0.hub());
        session.share(&budget);
        let (replies, stream) = tokio::sync::mpsc::channel(hold::UNSENT + 1);
        let served = hold::hold(session, request.into_inner(), replies, hold::Terms { left, deadline });
        self.0.tasks().spawn(async move {
            served.await;
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Of 32 hexadecimal digits.
fn secret(token: &str) -> Result<Secret, Status> {
    token.parse().map_err(|error: NotSecret| Status::invalid_argument(error.to_string()))
}

impl From<LockRow> for Lock {
    fn from(row: LockRow) -> Self {
        Self {
            name: row.name.as_str().to_owned(),
            mode: lock_mode(row.mode),
            session: row.session.0,
            wire: row.origin.map_or("", |origin| origin.wire.as_str()).to_owned(),
            peer: row.address(),
            client: row.client().map(str::to_owned),
            user: row.user().map(str::to_owned),
            note: row.note().map(str::to_owned),
            fencing_token: row.fencing_token,
            held_ms: millis(row.held),
            expires_at_ms: row.expires().map(moment),
            waiters: row.waiters as u64,
        }
    }
}
