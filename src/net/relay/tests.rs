use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use getlockd_cluster::{moment::Moment, record::Leader, term::Term};
use getlockd_proto::keepalive::Keepalive;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    CutCause, Parked, PortTls, Relay, RelayPort, Relays, Upstream, UpstreamError,
    frame::{FrameReader, FromLeader, FromRelay},
    introduction::{Introduction, Pass},
    is_own_port, park,
    upstream::Returned,
};
use crate::{
    core::{
        client_info::Wire,
        share::{Quota, Resource},
    },
    net::{Accepted, Acceptor, Admit, Entrance, Limiter, Socket, Tls, TlsFiles, listen},
};

const TERM: u64 = 16_226;
const PROCESS: u64 = 7;
const SOON: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(20);

/// A node that leads, with what it serves to relays.
struct Node {
    term: Arc<Term>,
    leader: Arc<Leader>,
    relays: Arc<Relays>,
    /// What has come from relays.
    accepted: mpsc::UnboundedReceiver<(Accepted, oneshot::Sender<()>)>,
    _relays: watch::Sender<Option<Arc<Relays>>>,
    port: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.port.abort();
    }
}

impl Node {
    fn leads(left: Duration) -> Self {
        Self::with(left, None)
    }

    fn with(left: Duration, tls: Option<PortTls>) -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let term = Arc::new(Term::held(TERM, Moment::now().after(left)));
        term.release();
        let leader = Arc::new(Leader {
            node: "a".to_owned(),
            address: listener.local_addr().unwrap().to_string(),
            nonce: String::new(),
            version: String::new(),
            secret: "secret".to_owned(),
            pin: tls.as_ref().map(|tls| tls.pin.clone()),
            ttl: Duration::from_secs(2),
            takeover_delay: Duration::ZERO,
            keepalive: Duration::from_secs(30),
            request_key: String::new(),
        });
        let (hand_over, accepted) = mpsc::unbounded_channel();
        let quota = Quota::new(Resource::Connections, 100);
        let entrance: Arc<dyn Admit> = Arc::new(Entrance {
            limiter: Limiter::new(Wire::Line, quota),
            acceptor: Acceptor::default(),
            refusal: |_| Bytes::new(),
            keepalive: Keepalive(Duration::from_secs(30)),
            serve: move |accepted| {
                let (ended, ends) = oneshot::channel();
                let _ = hand_over.send((accepted, ended));
                // The permit lives as long as the test has the other end.
                async move { drop(ends.await) }
            },
        });
        let relays = Relays::new(term.clone(), leader.clone(), vec![(Wire::Line, entrance)]);
        let (current, watched) = watch::channel(Some(relays.clone()));
        let port = RelayPort { tls, process: PROCESS, relays: watched };
        let port = tokio::spawn(port.accept(listener));
        Self { term, leader, relays, accepted, _relays: current, port }
    }

    async fn upstream(&self) -> Arc<Upstream> {
        Relay::new("b", 1).connect(TERM, self.leader.clone()).await.unwrap()
    }

    /// What the next relayed client is to the leader.
    async fn next(&mut self) -> (Socket, Accepted) {
        let (mut accepted, ended) = timeout(LONG, self.accepted.recv()).await.unwrap().unwrap();
        std::mem::forget(ended);
        let placeholder = lonely().await;
        (std::mem::replace(&mut accepted.stream, placeholder), accepted)
    }

    /// A client, and what it is to the leader.
    async fn relayed(&mut self, upstream: &Arc<Upstream>) -> (TcpStream, Socket) {
        let (client, accepted) = client().await;
        spawn_relay(upstream, accepted);
        (client, self.next().await.0)
    }

    /// A relay that asks only when the test does.
    async fn raw_control(&self, process: u64) -> TcpStream {
        let pass = Pass { term: TERM, secret: self.leader.secret.clone().into(), process, node: "c".into() };
        let mut stream = TcpStream::connect(&self.leader.address).await.unwrap();
        stream.write_all(&Introduction::Control(pass).encode().unwrap()).await.unwrap();
        assert_eq!(heard(&mut stream).await, Some(FromLeader::Welcome(TERM)));
        stream
    }
}

async fn heard(stream: &mut TcpStream) -> Option<FromLeader> {
    FromLeader::decode(FrameReader::default().next(stream).await.ok()?)
}

async fn pair() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    (client, accepted, peer)
}

async fn lonely() -> Socket {
    pair().await.1.into()
}

/// A client, and what a relay has accepted.
async fn client() -> (TcpStream, Accepted) {
    let (client, stream, peer) = pair().await;
    (client, Accepted { stream: stream.into(), peer, permit: std::sync::Weak::new(), via: None })
}

/// Closes the connection with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

async fn end_of(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut came = Vec::new();
    timeout(LONG, stream.read_to_end(&mut came)).await.expect("it does not end")?;
    Ok(came)
}

fn certificate() -> PortTls {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    // Clients must present a certificate, which relays need not.
    let files = TlsFiles { client_ca: Some(cert.clone()), cert, key };
    Tls::load(files, true).unwrap().for_cluster_port()
}

#[tokio::test]
async fn leader_sees_the_client_and_the_relay() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (client, accepted) = client().await;
    spawn_relay(&upstream, accepted);
    let (_stream, seen) = node.next().await;
    assert_eq!((seen.peer, seen.via.as_deref()), (client.local_addr().unwrap(), Some("b")));
    assert!(seen.permit.upgrade().is_some());
    let rows = node.relays.rows();
    assert_eq!((&*rows[0].node, rows[0].relayed, rows.len()), ("b", 1, 1));
    assert!(node.relays.last_asked().unwrap() < LONG);
    assert_eq!(upstream.relayed(), 1);
}

#[tokio::test]
async fn client_that_closes_its_side_still_reads() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (mut client, mut served) = node.relayed(&upstream).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(end_of(&mut served).await.unwrap(), b"question");
    served.write_all(b"answer").await.unwrap();
    served.shutdown().await.unwrap();
    assert_eq!(end_of(&mut client).await.unwrap(), b"answer");
}

#[tokio::test]
async fn leader_that_closes_its_side_still_reads() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (mut client, mut served) = node.relayed(&upstream).await;
    served.write_all(b"last words").await.unwrap();
    served.shutdown().await.unwrap();
    assert_eq!(end_of(&mut client).await.unwrap(), b"last words");
    client.write_all(b"thanks").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(end_of(&mut served).await.unwrap(), b"thanks");
}

#[tokio::test]
async fn client_is_closed_soon_after_the_leader_has_gone() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (mut client, served) = node.relayed(&upstream).await;
    drop(served);
    assert_eq!(end_of(&mut client).await.unwrap(), b"");
    timeout(LONG, async {
        while upstream.relayed() > 0 {
            sleep(SOON).await;
        }
    })
    .await
    .expect("the client does not close its side");
}

#[tokio::test]
async fn reset_is_passed_on_both_ways() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (client, mut served) = node.relayed(&upstream).await;
    reset(client);
    assert_eq!(end_of(&mut served).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let (mut client, served) = node.relayed(&upstream).await;
    SockRef::from(served.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(served);
    assert_eq!(end_of(&mut client).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn last_words_of_a_leader_that_takes_no_more_arrive() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (mut client, mut served) = node.relayed(&upstream).await;
    client.write_all(b"more").await.unwrap();
    served.write_all(b"ERROR").await.unwrap();
    served.tcp().readable().await.unwrap();
    // With unread bytes this resets the connection.
    drop(served);
    let mut came = [0; 5];
    client.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"ERROR");
}

/// Data in both directions at once, over relays with and without TLS.
async fn ten_megabytes(mut node: Node) {
    let upstream = node.upstream().await;
    let (client, served) = node.relayed(&upstream).await;
    let data: Vec<u8> = (0..10 << 20).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
    let (mut reads, mut writes) = tokio::io::split(client);
    let (mut served_reads, mut served_writes) = tokio::io::split(served);
    let (up, down) = (data.clone(), data.clone());
    let write = tokio::spawn(async move {
        writes.write_all(&up).await.unwrap();
        writes.shutdown().await.unwrap();
        writes
    });
    let served_write = tokio::spawn(async move {
        served_writes.write_all(&down).await.unwrap();
        served_writes.shutdown().await.unwrap();
        served_writes
    });
    let (came, served_came) = tokio::join!(end_of(&mut reads), end_of(&mut served_reads));
    assert!(came.unwrap() == data && served_came.unwrap() == data);
    let _ = (write.await.unwrap(), served_write.await.unwrap());
}

#[tokio::test]
async fn ten_megabytes_pass_both_ways() {
    ten_megabytes(Node::leads(Duration::from_mins(5))).await;
}

#[tokio::test]
async fn ten_megabytes_pass_both_ways_over_tls() {
    ten_megabytes(Node::with(Duration::from_mins(5), Some(certificate()))).await;
}

#[tokio::test]
async fn slow_reader_slows_the_leader() {
    let mut node = Node::leads(Duration::from_mins(5));
    let upstream = node.upstream().await;
    let (mut client, mut served) = node.relayed(&upstream).await;
    let sent = Arc::new(Mutex::new(0));
    let counted = sent.clone();
    let write = tokio::spawn(async move {
        for _ in 0..64 {
            served.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
            *counted.lock().unwrap() += 1 << 20;
        }
        served.shutdown().await.unwrap();
        served
    });
    let mut before = None;
    while before != Some(*sent.lock().unwrap()) {
        before = Some(*sent.lock().unwrap());
        sleep(5 * SOON).await;
    }
    assert!(before.unwrap() < 64 << 20, "the buffers of the kernel take some of it, and the relay no more");
    assert_eq!(end_of(&mut client).await.unwrap().len(), 64 << 20);
    drop(write.await.unwrap());
}

#[tokio::test]
async fn leader_with_another_certificate_is_refused() {
    let node = Node::with(LONG, Some(certificate()));
    let leader = Leader { pin: Some(certificate().pin), ..(*node.leader).clone() };
    let error = Relay::new("b", 1).connect(TERM, Arc::new(leader)).await.unwrap_err();
    assert!(
        matches!(&error, UpstreamError::Unreachable(_, error) if error.kind() == io::ErrorKind::InvalidData)
    );
    let leader = Leader { pin: None, ..(*node.leader).clone() };
    let error = Relay::new("b", 1).connect(TERM, Arc::new(leader)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::NotServing(_)), "without TLS: {error}");
}

#[tokio::test]
async fn relay_without_the_secret_or_of_another_term_is_refused() {
    let node = Node::leads(LONG);
    let stranger = Arc::new(Leader { secret: "guess".to_owned(), ..(*node.leader).clone() });
    for (term, leader) in [(TERM, stranger), (TERM - 1, node.leader.clone()), (TERM + 1, node.leader.clone())]
    {
        let error = Relay::new("b", 1).connect(term, leader).await.unwrap_err();
        assert!(matches!(error, UpstreamError::NotServing(_)), "{error}");
    }
    assert_eq!(node.relays.rows(), []);
}

#[tokio::test]
async fn lower_term_than_the_highest_seen_is_not_taken() {
    let node = Node::leads(LONG);
    let relay = Relay::new("b", 1);
    relay.saw(TERM + 1);
    let error = relay.connect(TERM, node.leader.clone()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Over(TERM)), "{error}");

    let relay = Relay::new("b", 2);
    let upstream = relay.connect(TERM, node.leader.clone()).await.unwrap();
    relay.saw(TERM + 1);
    node.term.extend(Moment::now().after(Duration::from_hours(1)));
    sleep(node.leader.ttl / 2).await;
    assert!(upstream.guard_deadline().left(Moment::now()) < LONG, "answers of the old term extend nothing");
}

#[tokio::test]
async fn clients_are_cut_before_the_term_ends() {
    let left = Duration::from_millis(800);
    let mut node = Node::leads(left);
    let began = Instant::now();
    let relay = Relay::new("b", 1);
    let upstream = relay.connect(TERM, node.leader.clone()).await.unwrap();
    let (mut client, mut served) = node.relayed(&upstream).await;
    served.write_all(b"1\n").await.unwrap();
    assert_eq!(end_of(&mut client).await.unwrap(), b"1\n");
    assert!(began.elapsed() < left, "{:?}", began.elapsed());
    assert!(!upstream.is_good());
    assert_eq!(relay.stats().cuts(CutCause::Unheard), 1);
    let (_client, accepted) = self::client().await;
    let returned = upstream.relay(accepted, Wire::Line).await.err().unwrap();
    assert!(matches!(returned.error, UpstreamError::Over(TERM)));
}

#[tokio::test]
async fn questions_extend_the_term_of_the_relay() {
    let node = Node::leads(Duration::from_secs(1));
    let upstream = node.upstream().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        node.term.extend(Moment::now().after(Duration::from_secs(1)));
        sleep(SOON).await;
    }
    assert!(upstream.is_good());
}

#[tokio::test]
async fn hand_over_waits_until_the_relay_and_its_clients_know() {
    let mut node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (mut client, _served) = node.relayed(&upstream).await;
    let (stalled, mut writes) = node.relayed(&upstream).await;
    while timeout(SOON, writes.write_all(&[b'x'; 8192])).await.is_ok() {}
    node.term.shut();
    let relays = node.relays.clone();
    let mut told = tokio::spawn(async move { relays.cut_all().await });
    assert_eq!(end_of(&mut client).await.unwrap(), b"");
    assert!(timeout(SOON, &mut told).await.is_err(), "one client has not acknowledged it");
    reset(stalled);
    timeout(Duration::from_secs(2), told).await.expect("all know").unwrap();
}

#[tokio::test]
async fn silent_relay_is_waited_for_until_its_time_is_over() {
    let left = Duration::from_secs(1);
    let node = Node::leads(left);
    let mut silent = node.raw_control(8).await;
    let began = Instant::now();
    silent.write_all(&FromRelay::Ask(1).encode()).await.unwrap();
    let Some(FromLeader::Left(answer)) = heard(&mut silent).await else { panic!("no answer") };
    assert!(answer.number == 1 && answer.term == TERM && answer.left <= left);
    let gone = node.raw_control(9).await;
    drop(gone);
    node.term.shut();
    node.relays.cut_all().await;
    assert!(began.elapsed() >= answer.left, "{:?}", began.elapsed());
    assert_eq!(heard(&mut silent).await, Some(FromLeader::Cut));
    silent.write_all(&FromRelay::Ask(2).encode()).await.unwrap();
    let Some(FromLeader::Left(answer)) = heard(&mut silent).await else { panic!("no answer") };
    assert!(answer.left.is_zero(), "nothing more is promised");
}

#[tokio::test]
async fn relay_that_has_cut_is_waited_for_no_longer() {
    let node = Node::leads(LONG);
    let mut relay = node.raw_control(8).await;
    relay.write_all(&FromRelay::Ask(1).encode()).await.unwrap();
    heard(&mut relay).await.unwrap();
    node.term.shut();
    let relays = node.relays.clone();
    let told = tokio::spawn(async move { relays.cut_all().await });
    assert_eq!(heard(&mut relay).await, Some(FromLeader::Cut));
    relay.write_all(&FromRelay::HasCut.encode()).await.unwrap();
    timeout(Duration::from_secs(2), told).await.expect("it has said so").unwrap();
}

#[tokio::test]
async fn connection_is_given_back_if_the_leader_cannot_be_reached() {
    let node = Node::leads(LONG);
    let upstream = node.upstream().await;
    node.port.abort();
    let (mut client, accepted) = client().await;
    client.write_all(b"PING\n").await.unwrap();
    // Until the port is closed.
    let (mut accepted, mut error) = (accepted, None);
    while error.is_none() {
        let Returned { accepted: back, error: why } =
            upstream.clone().relay(accepted, Wire::Line).await.err().unwrap();
        (accepted, error) = (back, matches!(why, UpstreamError::Unreachable(..)).then_some(why));
    }
    let mut came = [0; 5];
    accepted.stream.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"PING\n", "nothing was read");
}

#[tokio::test]
async fn parked_client_goes_on_leaves_or_has_waited_too_long() {
    let stats = Arc::default();
    let (mut waits, accepted) = client().await;
    waits.write_all(b"PING\n").await.unwrap();
    assert_eq!(park(&accepted, &stats, LONG, async { stats.parked() }).await, Parked::Goes(1));
    assert_eq!(park(&accepted, &stats, SOON, std::future::pending::<()>()).await, Parked::TooLong);
    // It may wait for an answer.
    waits.shutdown().await.unwrap();
    assert_eq!(park(&accepted, &stats, SOON, std::future::pending::<()>()).await, Parked::TooLong);
    reset(waits);
    assert_eq!(park(&accepted, &stats, LONG, std::future::pending::<()>()).await, Parked::Left);
    let (leaves, accepted) = client().await;
    drop(leaves);
    assert_eq!(park(&accepted, &stats, LONG, std::future::pending::<()>()).await, Parked::Left);
    assert_eq!(stats.parked(), 0);
}

#[tokio::test]
async fn node_knows_its_own_port() {
    let node = Node::leads(LONG);
    assert!(is_own_port(&node.leader.address, PROCESS).await.unwrap());
    assert!(!is_own_port(&node.leader.address, PROCESS + 1).await.unwrap());
    let node = Node::with(LONG, Some(certificate()));
    assert!(is_own_port(&node.leader.address, PROCESS).await.unwrap(), "without TLS, too");
}

/// Relays a connection in a task of its own.
fn spawn_relay(upstream: &Arc<Upstream>, accepted: Accepted) {
    let upstream = upstream.clone();
    tokio::spawn(async move {
        if let Ok(relaying) = upstream.relay(accepted, Wire::Line).await {
            relaying.await;
        }
    });
}

/// Hundreds of relayed connections are idle for each active one.
#[tokio::test]
async fn relayed_connection_is_small() {
    let node = Node::leads(LONG);
    let upstream = node.upstream().await;
    let (_client, accepted) = client().await;
    let relaying = upstream.relay(accepted, Wire::Line).await.ok().unwrap();
    let size = size_of_val(&relaying);
    assert!(size <= 352, "{size}");
}
