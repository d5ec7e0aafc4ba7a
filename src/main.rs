//! The `getlockd` server.

fn main() {}
