//! The members of etcd, and the connections to them.
//!
//! Each has a channel of its own: a library's balancer does not notice a member that stands still. Who is not answered in
//! time goes to the next one, and comes back by a new connection.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    EtcdConfig, EtcdLogin, WrongCertificates,
    failure::EtcdFailure,
    generated::etcdserverpb::{
        AuthenticateRequest, RangeRequest, RangeResponse, StatusRequest, StatusResponse, TxnRequest,
        TxnResponse, auth_client::AuthClient, kv_client::KvClient, maintenance_client::MaintenanceClient,
    },
    version,
};

/// The largest answer that is read: above the largest page of leases.
pub(super) const MAX_ANSWER: usize = 8 << 20;

/// All that are named in the URL, and whose turn it is.
#[derive(Debug)]
pub(super) struct EtcdMembers {
    members: Vec<EtcdMember>,
    turn: AtomicUsize,
}

impl EtcdMembers {
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, WrongCertificates> {
        let members = config.url.members.iter().enumerate();
        let members =
            members.map(|(place, name)| EtcdMember::new(place, name, config)).collect::<Result<_, _>>()?;
        Ok(Self { members, turn: AtomicUsize::new(0) })
    }

    pub(super) fn all(&self) -> &[EtcdMember] {
        &self.members
    }

    /// The member whose turn it is.
    pub(super) fn current(&self) -> &EtcdMember {
        self.at(self.turn.load(Ordering::Relaxed))
    }

    /// The member at a place, counted on and on.
    pub(super) fn at(&self, place: usize) -> &EtcdMember {
        &self.members[place % self.members.len()]
    }

    /// After a failure that another member may not have, it is the next one's turn.
    pub(super) fn note<A>(&self, member: &EtcdMember, answer: &Result<A, EtcdFailure>) {
        if answer.as_ref().is_err_and(EtcdFailure::is_of_member) {
            let next = (member.place + 1) % self.members.len();
            // Unless the turn has gone on meanwhile.
            let _ = self.turn.compare_exchange(member.place, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// One member of etcd.
pub(super) struct EtcdMember {
    /// `host:port`.
    pub(super) name: String,
    place: usize,
    endpoint: Endpoint,
    login: Option<EtcdLogin>,
    anyway: bool,
    pub(super) time_limit: Duration,
    open: Mutex<Open>,
}

/// What is kept between calls.
#[derive(Default)]
struct Open {
    channel: Option<Channel>,
    /// Of the login. It outlives a connection: each login costs etcd a slow hash and a round of its members.
    token: Option<Token>,
}

type Token = MetadataValue<Ascii>;

/// A connection, with what shows who we are.
#[derive(Clone)]
pub(super) struct MemberLink {
    pub(super) channel: Channel,
    token: Option<Token>,
}

impl MemberLink {
    /// A message as a request. A member that knows no leader of etcd refuses it, in place of letting it wait.
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

impl EtcdMember {
    fn new(place: usize, name: &str, config: &EtcdConfig) -> Result<Self, WrongCertificates> {
        let scheme = if config.url.tls { "https" } else { "http" };
        let mut endpoint =
            Endpoint::from_shared(format!("{scheme}://{name}"))?.connect_timeout(config.time_limit);
        if config.url.tls {
            let mut tls = match &config.ca {
                Some(ca) if CertificateDer::from_pem_slice(ca).is_err() => {
                    return Err(WrongCertificates::NoAuthority);
                }
                Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            if let Some((cert, key)) = &config.identity {
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(Self {
            name: name.to_owned(),
            place,
            endpoint,
            login: config.login.clone(),
            anyway: config.anyway,
            time_limit: config.time_limit,
            open: Mutex::default(),
        })
    }

    /// Not cancel-safe: dropped, nothing is known of it.
    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdFailure> {
        self.call(self.time_limit, |link| {
            let request = link.request(request.clone());
            async move { kv(link).txn(request).await.map(tonic::Response::into_inner) }
        })
        .await
    }

    /// Cancel-safe.
    pub(super) async fn range(
        &self,
        request: RangeRequest,
        limit: Duration,
    ) -> Result<RangeResponse, EtcdFailure> {
        self.call(limit, |link| {
            let request = link.request(request.clone());
            async move { kv(link).range(request).await.map(tonic::Response::into_inner) }
        })
        .await
    }

    /// What the member says of itself. Cancel-safe.
    pub(super) async fn status(&self) -> Result<StatusResponse, EtcdFailure> {
        self.call(self.time_limit, |link| async move { Self::ask_status(link.channel).await }).await
    }

    /// One call, within a time limit, with a connection and a login if there is none.
    ///
    /// As cancel-safe as the call.
    pub(super) async fn call<A, Called>(
        &self,
        limit: Duration,
        send: impl Fn(MemberLink) -> Called,
    ) -> Result<A, EtcdFailure>
    where
        Called: Future<Output = Result<A, Status>>,
    {
        let answered = timeout(limit, self.log_in_and_send(send)).await;
        let answer = answered.unwrap_or_else(|_| {
            Err(EtcdFailure::Unavailable(format!("{}: no answer within {limit:?}", self.name)))
        });
        if answer.as_ref().is_err_and(EtcdFailure::is_of_member) {
            self.open().channel = None;
        }
        answer
    }

    /// etcd's tokens end after five minutes without use, and with each change of a user's rights: not a reason to fail.
    ///
    /// As cancel-safe as the call.
    async fn log_in_and_send<A, Called>(&self, send: impl Fn(MemberLink) -> Called) -> Result<A, EtcdFailure>
    where
        Called: Future<Output = Result<A, Status>>,
    {
        let link = self.link().await?;
        let sent = send(link).await.map_err(|status| EtcdFailure::new(&self.name, &status));
        if self.login.is_none() || !matches!(sent, Err(EtcdFailure::LoggedOut(_))) {
            return sent;
        }
        self.open().token = None;
        let link = self.link().await?;
        send(link).await.map_err(|status| EtcdFailure::new(&self.name, &status))
    }

    /// The connection that there is, or a new one to a member whose version is sound.
    ///
    /// Cancel-safe.
    async fn link(&self) -> Result<MemberLink, EtcdFailure> {
        let failed = |status: Status| EtcdFailure::new(&self.name, &status);
        let (kept, token) = {
            let open = self.open();
            (open.channel.clone(), open.token.clone())
        };
        let channel = match kept {
            Some(channel) => channel,
            None => self.connect().await?,
        };
        let token = match (&self.login, token) {
            (Some(login), None) => log_in(&channel, login).await.map_err(failed)?,
            (_, token) => token,
        };
        *self.open() = Open { channel: Some(channel.clone()), token: token.clone() };
        Ok(MemberLink { channel, token })
    }

    /// Cancel-safe.
    async fn connect(&self) -> Result<Channel, EtcdFailure> {
        let channel = self.endpoint.connect_lazy();
        match Self::ask_status(channel.clone()).await {
            Ok(_) if self.anyway => {}
            Ok(status) => {
                if let Some(why) = version::unsound(&status.version) {
                    return Err(EtcdFailure::Unsound(format!("{}: {why}", self.name)));
                }
            }
            // Versions that show it to administrators only are all sound.
            Err(status) if status.code() == tonic::Code::PermissionDenied => {}
            Err(status) => return Err(EtcdFailure::new(&self.name, &status)),
        }
        Ok(channel)
    }

    /// Cancel-safe.
    async fn ask_status(channel: Channel) -> Result<StatusResponse, Status> {
        MaintenanceClient::new(channel).status(StatusRequest {}).await.map(tonic::Response::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EtcdMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdMember").field(&self.name).finish()
    }
}

fn kv(link: MemberLink) -> KvClient<Channel> {
    KvClient::new(link.channel).max_decoding_message_size(MAX_ANSWER)
}

/// The token of a login; none if etcd has no users. Cancel-safe.
async fn log_in(channel: &Channel, login: &EtcdLogin) -> Result<Option<Token>, Status> {
    let request = AuthenticateRequest { name: login.user.clone(), password: login.password.clone() };
    let answer = match AuthClient::new(channel.clone()).authenticate(request).await {
        Err(status) if status.message().contains("authentication is not enabled") => return Ok(None),
        answer => answer?,
    };
    let token = answer.into_inner().token.parse();
    token.map(Some).map_err(|_| Status::unauthenticated("the token of the login is no text"))
}
