//! What operators see: metrics, the log, and the notifications of systemd.
//!
//! This layer reads the counters of [`core`](crate::core) and [`net`](crate::net). Nothing depends on its output.

pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod systemd;
