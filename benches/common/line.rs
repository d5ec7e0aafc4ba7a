//! The line wire.

use std::time::Duration;

use super::load::Wire;

pub const LINE: Wire = Wire {
    log_in: |_| (),
    take: |name, _| format!("GET_LOCK {name} 60\n").into_bytes(),
    free: |name, _| format!("RELEASE_LOCK {name}\n").into_bytes(),
    reply,
    pause: Duration::ZERO,
};

fn reply(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = bytes.iter().position(|c| *c == b'\n')?;
    Some((end + 1, &bytes[..end] == b"1"))
}
