//! To come with the codec.
fn main() {}
