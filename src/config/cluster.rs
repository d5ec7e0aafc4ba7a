//! The flags of a cluster: its engine, and this node's place in it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use super::{
    CliError,
    values::{Listen, time},
};
use crate::net::Network;

/// How the engine of a cluster is reached.
#[derive(Args, Clone, Debug)]
pub struct EngineFlags {
    /// Serve as one of several nodes, of which one leads: the etcd that they share, as
    /// etcd://HOST:PORT,HOST:PORT/PREFIX, or etcds:// over TLS
    #[arg(long = "cluster", env = "GETLOCKD_CLUSTER", value_name = "URL")]
    pub url: Option<String>,

    /// CA certificates (PEM) that sign those of etcd
    #[arg(long = "cluster-ca", env = "GETLOCKD_CLUSTER_CA", value_name = "FILE", requires = "url")]
    pub ca: Option<PathBuf>,

    /// Certificate (PEM) that is presented to etcd
    #[arg(
        long = "cluster-cert",
        env = "GETLOCKD_CLUSTER_CERT",
        value_name = "FILE",
        requires_all = ["url", "key"]
    )]
    pub cert: Option<PathBuf>,

    /// Private key (PEM) of the certificate for etcd
    #[arg(
        id = "key",
        long = "cluster-key",
        env = "GETLOCKD_CLUSTER_KEY",
        value_name = "FILE",
        requires_all = ["url", "cert"]
    )]
    pub key: Option<PathBuf>,

    /// User of etcd
    #[arg(
        long = "cluster-user",
        env = "GETLOCKD_CLUSTER_USER",
        value_name = "NAME",
        requires_all = ["url", "password_file"]
    )]
    pub user: Option<String>,

    /// File with the password of the user of etcd
    #[arg(
        id = "password_file",
        long = "cluster-password-file",
        env = "GETLOCKD_CLUSTER_PASSWORD_FILE",
        value_name = "FILE",
        requires_all = ["url", "user"]
    )]
    pub password_file: Option<PathBuf>,

    /// Use a version of etcd whose members may disagree: before 3.4.22, and 3.5.0 to 3.5.5
    #[arg(long = "cluster-etcd-anyway", env = "GETLOCKD_CLUSTER_ETCD_ANYWAY", value_parser = BoolishValueParser::new(), requires = "url")]
    pub etcd_anyway: bool,
}

/// This node's place in a cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterFlags {
    /// The engine.
    #[command(flatten)]
    pub engine: EngineFlags,

    /// Listen address for the other nodes, which relay their clients to it while this node leads
    #[arg(
        long = "cluster-listen",
        env = "GETLOCKD_CLUSTER_LISTEN",
        default_value = "127.0.0.1:3309",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,

    /// Address at which the other nodes reach this one: host:port [default: that of --cluster-listen]
    #[arg(long, env = "GETLOCKD_ADVERTISE", value_name = "ADDR", value_parser = advertised, requires = "url")]
    pub advertise: Option<String>,

    /// Name of this node, unique in its cluster [default: the host name]
    #[arg(long, env = "GETLOCKD_NODE_NAME", value_name = "NAME", value_parser = node_name, requires = "url")]
    pub node_name: Option<String>,

    /// How long a leader that is not heard of keeps its place: another node takes over after this time
    #[arg(long, env = "GETLOCKD_CLUSTER_TTL", default_value = "5s", value_name = "TIME", value_parser = cluster_ttl, allow_negative_numbers = true)]
    pub cluster_ttl: Duration,

    /// How much longer the next leader waits before it grants: for clients that need more time to stop their work
    #[arg(long, env = "GETLOCKD_TAKEOVER_DELAY", default_value = "0s", value_name = "TIME", value_parser = takeover_delay, allow_negative_numbers = true)]
    pub takeover_delay: Duration,

    /// Listen address for probes and metrics of this very node: /healthz, /readyz, /leader, /metrics and /cluster; off:
    /// none [default: 127.0.0.1:3310 in a cluster]
    #[arg(long, env = "GETLOCKD_STATUS", value_name = "ADDR", requires = "url")]
    pub status: Option<Listen>,

    /// Address or network of load balancers that tell the client's address by PROXY protocol v2 on each connection; may
    /// be repeated
    #[arg(long = "proxy-from", env = "GETLOCKD_PROXY_FROM", value_name = "NETWORK", value_delimiter = ',')]
    pub proxies: Vec<Network>,
}

impl ClusterFlags {
    /// Whether this server is a node of a cluster.
    pub fn is_on(&self) -> bool {
        self.engine.url.is_some()
    }

    /// The address of the status port; none if it is off.
    pub fn status_addr(&self) -> Option<SocketAddr> {
        match self.status {
            None => Some(SocketAddr::from(([127, 0, 0, 1], 3310))),
            Some(Listen::At(addr)) => Some(addr),
            Some(Listen::Off | Listen::Systemd) => None,
        }
    }

    /// The name of this node.
    pub fn name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.node_name.clone().unwrap_or_else(host)
    }

    /// Where the other nodes reach this one, which listens at this address.
    pub fn advertised(&self, listens: SocketAddr) -> String {
        self.advertise.clone().unwrap_or_else(|| listens.to_string())
    }

    /// Checks the flags of a node against each other.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let wrong = |what: &str| Err(CliError::Invalid(what.to_owned()));
        if !self.is_on() {
            return Ok(());
        }
        if self.advertise.is_none() && self.listen.ip().is_unspecified() {
            return wrong(
                "--cluster-listen is on all addresses: give --advertise HOST:PORT, at which the other nodes reach this one",
            );
        }
        if self.status == Some(Listen::Systemd) {
            return wrong("--status: expected host:port or off");
        }
        if node_name(&self.name()).is_err() {
            return wrong("the host name cannot be the name of a node: give --node-name NAME");
        }
        Ok(())
    }
}

fn advertised(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        _ => Err("expected host:port, such as 10.0.0.1:3309".to_owned()),
    }
}

fn node_name(text: &str) -> Result<String, String> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_right) {
        Ok(text.to_owned())
    } else {
        Err("expected up to 64 letters, digits, dots, dashes and underscores".to_owned())
    }
}

fn cluster_ttl(text: &str) -> Result<Duration, String> {
    let possible = Duration::from_secs(3)..=Duration::from_mins(1);
    time(text)
        .ok()
        .filter(|time| possible.contains(time))
        .ok_or_else(|| "expected a time from 3s to 60s".to_owned())
}

fn takeover_delay(text: &str) -> Result<Duration, String> {
    time(text)
        .ok()
        .filter(|time| *time <= Duration::from_mins(10))
        .ok_or_else(|| "expected a time up to 10m".to_owned())
}
