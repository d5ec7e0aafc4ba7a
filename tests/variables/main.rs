//! System variables over the MySQL wire: as MySQL 8.4 has them, and those that act.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod acting;
mod oracle;
mod setting;
