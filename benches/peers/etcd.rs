//! etcd: its own lock service, over gRPC, with a lease for each connection.

use std::{process::Command, sync::Arc};

use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    LINE_ONLY, LOADS, Load, Peer, Way,
    common::{
        Server, free_port,
        load::{Client, Clients, Tally},
    },
};

/// More than any load takes.
const TTL: i64 = 60;

const WAYS: &[Way] = &[Way {
    does: "v3lock Lock and Unlock, a lease for each connection",
    gives_up: "the end of the connection, which frees nothing: a lock stays until its lease ends, which wants heartbeats \
        (none sent here); deadlocks are not found. It queues, and gives what getlockd does not: each step is on \
        disk, and servers can be several",
    clients: &Etcd,
    loads: &[LOADS[0], LOADS[2]],
    beside: LINE_ONLY,
}];

pub fn start() -> Option<Peer> {
    let version = crate::version("etcd")?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let [client, peer] = [port, free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.path());
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]);
    Some(Peer { version, server: Server::start(command, port), port, ways: WAYS, _folder: folder })
}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantRequest {
    #[prost(int64, tag = "1")]
    ttl: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Granted {
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Locked {
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnlockRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Unlocked {}

struct Etcd;

impl Clients for Etcd {
    fn start(&self, port: u16, load: Load, tally: &Arc<Tally>) -> Vec<Client> {
        let start = |at| -> Client { Box::pin(lock_and_unlock(port, at, load, tally.clone())) };
        (0..load.connections).map(start).collect()
    }
}

async fn lock_and_unlock(port: u16, at: usize, load: Load, tally: Arc<Tally>) {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut connection = Grpc::new(endpoint.connect().await.unwrap());
    let grant = GrantRequest { ttl: TTL };
    let Granted { lease } = ask(&mut connection, "/etcdserverpb.Lease/LeaseGrant", grant).await;
    let lock = LockRequest { name: load.name(at), lease };
    tally.ready();
    while tally.goes_on() {
        let Locked { key } = ask(&mut connection, "/v3lockpb.Lock/Lock", lock.clone()).await;
        assert!(!key.is_empty(), "it was not granted");
        let Unlocked {} = ask(&mut connection, "/v3lockpb.Lock/Unlock", UnlockRequest { key }).await;
        tally.add(at, 1);
    }
}

async fn ask<A, B>(connection: &mut Grpc<Channel>, path: &'static str, request: A) -> B
where
    A: prost::Message + 'static,
    B: prost::Message + Default + 'static,
{
    connection.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    let codec = ProstCodec::<A, B>::default();
    connection.unary(tonic::Request::new(request), path, codec).await.unwrap().into_inner()
}
