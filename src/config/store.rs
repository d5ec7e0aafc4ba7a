//! Where leases are kept over a restart.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use super::values::time;

/// Where leases are kept over a restart.
#[derive(Args, Clone, Debug)]
pub struct StoreFlags {
    /// Keep leases in this file, so that they outlive a restart, a crash and a power cut
    #[arg(long = "store", env = "GETLOCKD_STORE", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Wait for this time after a crash before granting locks; leases that run for no longer are not written
    #[arg(long = "store-grace", env = "GETLOCKD_STORE_GRACE", default_value = "1s", value_name = "TIME", value_parser = time, allow_negative_numbers = true)]
    pub grace: Duration,

    /// Use the file even on a file system that may lose it or cannot lock it: tmpfs, overlayfs, NFS
    #[arg(long = "store-anyway", env = "GETLOCKD_STORE_ANYWAY", value_parser = BoolishValueParser::new())]
    pub anyway: bool,
}
