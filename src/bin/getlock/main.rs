//! `getlock`: locks for scripts, and lists for people.

fn main() {}
