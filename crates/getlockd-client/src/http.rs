//! Leases over HTTP, for programs that cannot keep a connection open, as behind a proxy (protocol.md, part 8).
//!
//! A lease is a lock that is kept by heartbeats. A task of the client sends them, each on a connection of its own.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), getlockd_client::Error> {
//! # async fn work(_token: u64) {}
//! use std::time::Duration;
//! use getlockd_client::http::Leases;
//!
//! let leases = Leases::new("127.0.0.1:3308").name("web-1");
//! // The work is dropped if the lease is lost.
//! leases.lock("nightly", Duration::from_secs(10), async |lease| work(lease.fencing_token()).await).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A lease is lost a fifth of its time to live before the server can grant the lock to another session, or
//! [`Builder::stop_within`] before. If the program dies, its lock is free when the lease ends.

use std::{fmt, io, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use getlockd_proto::timeout::Timeout;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    Builder, Error, Lost, Mode, Names, Refused,
    builder::{MAX_TEXT, failed},
    clock::Moment,
    handle::{Deadlines, ended_with_runtime, when_lost},
    heartbeat::{HeartbeatTimer, check_stop_within},
    lock_methods::{granted, lock_methods},
    pool::Backoff,
};

/// The default HTTP port of a server.
const DEFAULT_PORT: u16 = 3308;

const DEFAULT_TTL: Duration = Duration::from_secs(45);

/// How long an answer may take that waits for no lock. A node of a cluster is silent for up to 10 s while no node leads.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// A longer answer is that of another server.
const MAX_ANSWER: usize = 64 * 1024;

/// A server over HTTP. Clones are cheap.
#[derive(Clone)]
pub struct Leases {
    builder: Builder,
    authorization: Option<String>,
    ttl: Duration,
}

impl Leases {
    /// For a server: `host:port`, or `host` for port 3308. For a cluster, several of them with commas in between.
    pub fn new(server: impl Into<String>) -> Self {
        Self::with(Builder::new(server))
    }

    /// As the builder says: as a user, under a name, over TLS and so on.
    pub fn with(mut builder: Builder) -> Self {
        builder.servers = builder.servers.at_port(DEFAULT_PORT);
        let basic = |(user, password): &(String, String)| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        };
        let authorization = builder.login.as_ref().map(basic);
        Self { builder, authorization, ttl: DEFAULT_TTL }
    }

    /// Logs in by the token of a user. Without TLS it can be read on its way.
    #[must_use]
    pub fn bearer_token(self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// For how long a lease runs from each heartbeat; 45 s by default.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// What this program calls itself, as [`Builder::name`].
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { builder: self.builder.name(name), ..self }
    }

    /// A note for people, as [`Builder::note`].
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { builder: self.builder.note(note), ..self }
    }

    lock_methods! { Lease;
        /// Cancel-safe: dropped, it leaves the queue, and gives back the lease that it may have got.
        ///
        /// # Errors
        /// [`Error::NotGranted`] if the lock was not granted in time; [`Error::Refused`], whose `word` is the status of
        /// the HTTP interface; [`Error::Connect`] if there is no server for longer than [`Builder::retry`];
        /// [`Error::StopWithin`].
    }

    /// Cancel-safe, as [`Leases::acquire`].
    async fn take(&self, mode: Mode, names: &Names, timeout: Timeout) -> Result<Lease, Error> {
        names.check()?;
        let stop_within = self.builder.stop_within.unwrap_or(self.ttl / 5);
        check_stop_within(stop_within, self.ttl, None)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| self.builder.failed(io::Error::other(error)))?;
        let (lost, _) = watch::channel(None);
        let keeper = Keeper {
            leases: self.clone(),
            names: names.clone(),
            mode,
            request_id: format!("{:032x}", u128::from_ne_bytes(id)),
            lease_token: String::new(),
            timer: HeartbeatTimer::new(Some(stop_within)),
            deadlines: Arc::default(),
            lost,
        };
        // A task of its own: if this future is dropped, it gives back what the server has granted.
        let (caller, lease) = oneshot::channel();
        tokio::spawn(keeper.run(timeout, caller));
        lease.await.unwrap_or_else(|_| Err(ended_with_runtime().into()))
    }

    /// Sends a request, to one server after the other until one answers within its part of the time.
    ///
    /// Cancel-safe.
    async fn post(&self, action: &str, fields: &Value, within: Duration) -> Result<HttpAnswer, Error> {
        self.builder.first_good(within, |address, reach| self.post_to(address, reach, action, fields)).await
    }

    /// Sends a request on a connection of its own, which is closed when this is dropped: the server then ends its wait.
    ///
    /// Cancel-safe.
    async fn post_to(
        &self,
        address: String,
        reach: Duration,
        action: &str,
        fields: &Value,
    ) -> Result<HttpAnswer, Error> {
        let of_hyper = |error: hyper::Error| failed(&address, io::Error::other(error));
        let connecting =
            timeout(self.builder.answer_within(), self.builder.stream(address.clone(), reach)).await;
        let stream = connecting.unwrap_or_else(|_| Err(failed(&address, io::ErrorKind::TimedOut.into())))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(of_hyper)?;
        let mut request = Request::post(format!("/api/lock/{action}"))
            .header(HOST, &address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(fields.to_string())));
        let request = request.map_err(|error| failed(&address, io::Error::other(error)))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(of_hyper)?;
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| failed(&address, io::Error::other(error)))?.to_bytes();
            Ok(HttpAnswer { code, fields: serde_json::from_slice(&body).unwrap_or_default() })
        };
        // The connection moves the bytes of the exchange, which fails by itself when it ends.
        let driving = async {
            let _ = connection.await;
            std::future::pending().await
        };
        let answer = tokio::select! {
            answer = exchange => answer,
            never = driving => never,
        };
        answer.and_then(|answer| self.of_leader(answer, &address))
    }

    /// Fails if the answer is that of a server that does not lead, or not any more: another one may.
    fn of_leader(&self, answer: HttpAnswer, address: &str) -> Result<HttpAnswer, Error> {
        let term = answer.fields.get("term").and_then(Value::as_u64);
        if term.is_some_and(|term| !self.builder.servers.takes_term(term)) {
            let late = io::Error::other("it leads no more: its term is followed by another");
            return Err(failed(address, late));
        }
        if answer.code == 503 { Err(answer.refused().into()) } else { Ok(answer) }
    }
}

/// Never shows the password.
impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("builder", &self.builder).finish_non_exhaustive()
    }
}

/// The answer to a request.
struct HttpAnswer {
    code: u16,
    /// Null if it was no JSON.
    fields: Value,
}

impl HttpAnswer {
    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    fn refused(&self) -> Refused {
        let word = self.text("status").map_or_else(|| format!("HTTP {}", self.code), str::to_owned);
        let text = self.text("message").unwrap_or("not a getlockd server; check the address");
        Refused { word, text: text.to_owned() }
    }
}

/// A lock that is held by heartbeats, or several, until this is dropped or its lease ends.
///
/// A drop releases the lock soon, and does not wait for it. [`Lease::release`] waits, and reports a loss.
#[must_use = "the lock is released when its lease is dropped"]
pub struct Lease {
    names: Names,
    fencing_token: u64,
    lost: watch::Receiver<Option<Lost>>,
    deadlines: Arc<Deadlines>,
    /// Dropped, it makes the keeper release the lock.
    release: oneshot::Sender<ReleaseReply>,
}

type ReleaseReply = oneshot::Sender<Result<(), Error>>;

impl Lease {
    /// The lock's name, as it was asked for; of several the first.
    pub fn name(&self) -> &str {
        self.names.first()
    }

    /// The names of all locks of the lease.
    pub fn names(&self) -> &[String] {
        self.names.as_slice()
    }

    /// The fencing token: a number that grows with every grant. Send it along with what you write.
    pub fn fencing_token(&self) -> u64 {
        self.fencing_token
    }

    /// Resolves when the lease is lost: it was killed, or heartbeats have failed for so long that the server may soon grant the
    /// lock to another session.
    ///
    /// Cancel-safe. The future outlives the lease, and does not keep the lock.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        when_lost(self.lost.clone())
    }

    /// Whether the lease is lost. It looks at the clock itself, so it is exact even if no task has run lately.
    pub fn is_lost(&self) -> bool {
        self.why().is_some()
    }

    /// Why the lease is lost, if it is.
    pub fn why(&self) -> Option<Lost> {
        let lost = self.lost.borrow().clone();
        let ended = || self.release.is_closed().then(ended_with_runtime);
        lost.or_else(ended).or_else(|| self.deadlines.expired())
    }

    /// Runs some work while the lock is held. When the lease is lost, the work is dropped where it stands.
    ///
    /// Cancel-safe if the work is. The lease stays, and so does the lock.
    ///
    /// # Errors
    /// [`Lost`], also if the work has ended but the lease was lost before.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = work => self.why().map_or(Ok(done), Err),
        }
    }

    /// Runs some work, and releases the lock.
    ///
    /// Cancel-safe if the work is; the lock is released in any case.
    async fn scope<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> Result<T, Error> {
        let done = self.run(work(&self)).await?;
        self.release().await?;
        Ok(done)
    }

    /// Releases the lock, and waits until that is done.
    ///
    /// Cancel-safe: the lock is released in any case.
    ///
    /// # Errors
    /// [`Error::Lost`] if the lease was lost before; [`Error::NotHeld`] if the server says that it had ended;
    /// [`Error::Connect`] if the server is unreachable: the lock is free when the lease ends.
    pub async fn release(self) -> Result<(), Error> {
        if let Some(lost) = self.why() {
            return Err(lost.into());
        }
        let (sender, reply) = oneshot::channel();
        // If the keeper has ended, this drops `sender`, and the wait below fails.
        let _ = self.release.send(sender);
        match reply.await {
            Ok(released) => released,
            Err(_) => Err(when_lost(self.lost).await.into()),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("names", &self.names())
            .field("fencing_token", &self.fencing_token)
            .finish_non_exhaustive()
    }
}

/// The task of a lease: it takes the lock, sends the heartbeats, and releases the lock.
struct Keeper {
    leases: Leases,
    names: Names,
    mode: Mode,
    /// Makes a repeated request safe: it gets the lease that the first one took.
    request_id: String,
    lease_token: String,
    /// A lease promises its time to live from each heartbeat on, as `KEEPALIVE` does on the line protocol.
    timer: HeartbeatTimer,
    deadlines: Arc<Deadlines>,
    lost: watch::Sender<Option<Lost>>,
}

impl Keeper {
    async fn run(mut self, timeout: Timeout, mut caller: oneshot::Sender<Result<Lease, Error>>) {
        let taken = tokio::select! {
            taken = self.acquire(timeout) => taken,
            () = caller.closed() => return self.give_up().await,
        };
        let fencing_token = match taken {
            Ok(fencing_token) => fencing_token,
            Err(error) => {
                // After a grant that came too late; otherwise there is nothing to give back.
                if !self.lease_token.is_empty() {
                    let _ = self.give_back().await;
                }
                return drop(caller.send(Err(error)));
            }
        };
        self.timer.add_guard();
        self.deadlines.publish(&self.timer);
        let (release, released) = oneshot::channel();
        let (names, lost, deadlines) = (self.names.clone(), self.lost.subscribe(), self.deadlines.clone());
        // If the caller has gone, the lease is dropped here, and `keep` gives it back.
        drop(caller.send(Ok(Lease { names, fencing_token, lost, deadlines, release })));
        self.keep(released).await;
    }

    /// Takes the lock, and tries again while the server is away. Returns the fencing token.
    ///
    /// Cancel-safe, but a grant that is on its way stays: see `give_up`.
    async fn acquire(&mut self, timeout: Timeout) -> Result<u64, Error> {
        let (start, mut backoff) = (Instant::now(), Backoff::new(self.leases.builder.retry));
        loop {
            let began = Instant::now();
            self.timer.failed();
            match self.try_acquire(timeout.less(start.elapsed())).await {
                Err(error) if error.is_transient() => backoff.wait(began, error).await?,
                done => return done,
            }
        }
    }

    async fn try_acquire(&mut self, timeout: Timeout) -> Result<u64, Error> {
        let asked = Moment::now();
        self.timer.sent(asked);
        let answer = self.leases.post("acquire", &self.fields(timeout), Duration::MAX).await?;
        if answer.text("status") == Some("Busy") {
            return Err(Error::NotGranted { in_the_way: answer.text("inTheWay").map(str::to_owned) });
        }
        let grant = answer.text("lockToken").zip(answer.fields["fencingToken"].as_u64());
        let Some((lease_token, fencing_token)) = grant.filter(|_| answer.code == 200) else {
            return Err(answer.refused().into());
        };
        lease_token.clone_into(&mut self.lease_token);
        self.timer.answered(self.leases.ttl);
        // The time of the lease runs from the grant, of which it is only known that it came after the request: after a
        // long wait that is too little to count from.
        if Moment::now().since(asked) > self.leases.ttl / 5 {
            self.heartbeat(ANSWER_TIME).await?;
        }
        if self.timer.is_certain(Moment::now()) {
            Ok(fencing_token)
        } else {
            Err(Lost::silent(self.timer.promised_until()).into())
        }
    }

    fn fields(&self, timeout: Timeout) -> Value {
        let wait = match timeout {
            Timeout::Within(time) => i64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(-1),
            Timeout::Forever => -1,
        };
        let mut fields = json!({
            "mode": self.mode.to_string(),
            "waitMs": wait,
            "ttlMs": u64::try_from(self.leases.ttl.as_millis()).unwrap_or(u64::MAX),
            "requestId": self.request_id,
        });
        match self.names.as_slice() {
            [name] => fields["resourceName"] = json!(name),
            names => fields["resourceNames"] = json!(names),
        }
        if let Some(limit) = self.mode.limit() {
            fields["limit"] = json!(limit);
        }
        let builder = &self.leases.builder;
        let note = builder.note.clone().unwrap_or_default();
        for (key, text) in [("clientId", builder.own_name()), ("note", note)] {
            if !text.is_empty() {
                fields[key] = json!(text.chars().take(MAX_TEXT).collect::<String>());
            }
        }
        fields
    }

    /// The caller has gone. Its connection is closed, which ends its wait, but a grant may have been on its way: a
    /// repetition of the request finds it.
    async fn give_up(mut self) {
        let again = self.leases.post("acquire", &self.fields(Timeout::NONE), ANSWER_TIME).await;
        if let Ok(answer) = again
            && let Some(lease_token) = answer.text("lockToken")
        {
            lease_token.clone_into(&mut self.lease_token);
            let _ = self.give_back().await;
        }
    }

    /// Sends the heartbeats until the lease is dropped or released.
    async fn keep(mut self, mut release: oneshot::Receiver<ReleaseReply>) {
        let lost = loop {
            let now = Moment::now();
            self.deadlines.publish(&self.timer);
            if self.timer.is_expired(now) {
                break Lost::silent(self.timer.promised_until());
            }
            let step = async {
                if self.timer.is_due(now) {
                    // There is time for more heartbeats if this one is not answered.
                    let patience = self.timer.guards_expire().since(now).min(self.leases.ttl / 5);
                    return self.heartbeat(patience.min(ANSWER_TIME)).await;
                }
                sleep(self.timer.sleep_time(now).unwrap_or(self.leases.ttl / 5)).await;
                Ok(())
            };
            tokio::select! {
                asked = &mut release => {
                    let released = self.give_back().await;
                    return if let Ok(reply) = asked { drop(reply.send(released)) };
                }
                sent = step => if let Err(lost) = sent { break lost },
            }
        };
        self.lost.send_replace(Some(lost));
        // The work may still be stopping. When it has, the next session need not wait for the end of the lease.
        let _ = release.await;
        let _ = self.give_back().await;
    }

    /// Fails if the server says that the lease has ended. All other failures may pass.
    ///
    /// Cancel-safe: dropped, its answer counts for nothing.
    async fn heartbeat(&mut self, patience: Duration) -> Result<(), Lost> {
        self.timer.failed();
        self.timer.sent(Moment::now());
        match self.leases.post("heartbeat", &self.token_fields(), patience).await {
            Ok(answer) if answer.code == 200 => {
                self.timer.answered(self.leases.ttl);
                Ok(())
            }
            // 403: the user may not lock it any more, which has ended the lease.
            Ok(answer) if matches!(answer.code, 403 | 404 | 409) => {
                Err(Lost::new("the lease has ended", Some(answer.refused())))
            }
            _ => Ok(()),
        }
    }

    async fn give_back(&self) -> Result<(), Error> {
        let answer = self.leases.post("release", &self.token_fields(), ANSWER_TIME).await?;
        match answer.code {
            200 => Ok(()),
            404 | 409 => Err(Error::NotHeld),
            _ => Err(answer.refused().into()),
        }
    }

    fn token_fields(&self) -> Value {
        json!({ "resourceName": self.names.first(), "lockToken": self.lease_token })
    }
}
