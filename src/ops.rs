//! What operators see: metrics, the status port of a node of a cluster, the log, and the notifications of systemd.
//!
//! This layer reads the counters of [`core`](crate::core) and [`net`](crate::net). Nothing depends on its output.

pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod status;
pub(crate) mod systemd;
