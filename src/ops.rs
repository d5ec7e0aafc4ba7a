//! What those who run the server see: metrics, the log, and what systemd is told.
//!
//! This layer reads the numbers of [`core`](crate::core) and [`net`](crate::net). Nothing depends on what it reports.

pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod systemd;
