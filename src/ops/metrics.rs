//! The metrics of the server, for Prometheus. Nothing is counted here: each scrape reads counters that are kept where the
//! events happen. No label contains the name of a lock or a user, or an address.

mod encoder;
mod node;
mod process;
mod scrape;
mod server;
mod text_format;

use std::{fmt, sync::Arc, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::{
    encoder::Encoder,
    process::{ProcessStats, seconds_since_epoch},
};
pub use self::{scrape::scrape, server::Sources};
use crate::ops::node::NodeView;

/// All metrics of a server, or of a node of a cluster.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// Makes metrics that read these sources.
    pub fn new(sources: Arc<Sources>) -> Self {
        Self::of(ServerMetrics(sources))
    }

    /// Makes the metrics of a node of a cluster, whose process started then: with those of its server while it leads.
    pub fn of_node(node: Arc<dyn NodeView>, started: SystemTime) -> Self {
        Self::of(NodeMetrics { node, started })
    }

    fn of(collector: impl Collector) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(collector));
        Self(registry)
    }

    /// The metrics in OpenMetrics 1.0. It reads files, so it must not run on a thread of the runtime.
    pub fn open_metrics(&self) -> String {
        let mut page = String::new();
        // Writing to a String never fails.
        let _ = text::encode(&mut page, &self.0);
        page
    }

    /// The metrics in Prometheus's older text format, for clients that do not ask for OpenMetrics.
    pub fn text_format(&self) -> String {
        text_format::from_open_metrics(&self.open_metrics())
    }
}

/// The metrics of a server.
#[derive(Debug)]
struct ServerMetrics(Arc<Sources>);

impl Collector for ServerMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut Encoder(encoder);
        program(self.0.started, encoder)?;
        self.0.encode(encoder)
    }
}

/// The metrics of a node of a cluster.
#[derive(Debug)]
struct NodeMetrics {
    node: Arc<dyn NodeView>,
    started: SystemTime,
}

impl Collector for NodeMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut Encoder(encoder);
        program(self.started, encoder)?;
        node::encode(&self.node.status(), encoder)?;
        self.node.served().map_or(Ok(()), |sources| sources.encode(encoder))
    }
}

/// What is known of the program, and of its process.
fn program(started: SystemTime, encoder: &mut Encoder<'_>) -> fmt::Result {
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    encoder.gauges("getlockd_build_info", "Version of the server", "version", version)?;
    let help = "Start time of the server, in seconds since 1970";
    encoder.gauge("getlockd_start_time_seconds", help, seconds_since_epoch(started))?;
    ProcessStats::read().map_or(Ok(()), |process| process.encode(started, encoder))
}
