//! The engine of a seat, against etcd as it is.
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

#[allow(dead_code, reason = "each of the test binaries uses its part")]
#[path = "../../../../tests/common"]
mod common {
    pub mod authority;
    pub mod etcd;
    pub mod places;
    pub mod skip;

    pub use places::installed;
}
mod access;
mod check;
mod driver;
mod faults;
mod leases;
mod node;
mod seat;
mod watch;
