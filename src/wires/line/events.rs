//! Lines that a client has not asked for one by one: events, each behind a star.

use std::fmt;

use getlockd_proto::escape::Written;

use super::{
    codec::LineEnd,
    encode::{LineWriter, OrNull, Seconds},
};
use crate::{
    core::{
        events::{HoldEnd, LockEvent, Notified, WaitEvent},
        lock::{Hold, Mode},
        session::{Handle, Told},
    },
    net::{BufferedSocket, MAX_UNSENT},
};

/// Writes what the client is to be told, as far as there is room until it reads. To be called between replies.
pub(super) fn tell(io: &mut BufferedSocket, handle: &Handle, end: LineEnd) {
    if !handle.has_news() || io.output.len() >= MAX_UNSENT {
        return;
    }
    handle.take_news();
    while io.output.len() < MAX_UNSENT {
        let Some(told) = handle.next_told() else { return };
        LineWriter { output: &mut io.output, end }.line(format_args!("* {}", EventLine(&told)));
    }
    // There may be more, for which there is room once this is sent.
    handle.notify();
}

struct EventLine<'a>(&'a Told);

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Told::Lock(event) => write_event(event, f),
            Told::Waiting(wait) => {
                let WaitEvent { name, session, mode, waiters } = &**wait;
                let name = Written(name.as_str());
                write!(f, "WAITING name={name} session={session} mode={mode} waiters={waiters}")?;
                write_limit(*mode, f)
            }
            Told::Missed(count) => write!(f, "MISSED count={}", OrNull(*count)),
        }
    }
}

fn write_event(event: &LockEvent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let LockEvent { name, hold: Hold { session, mode, token, .. }, end } = event;
    let (kind, name) = (event.kind().to_uppercase(), Written(name.as_str()));
    write!(f, "{kind} name={name} mode={mode} session={session} fencing_token={token}")?;
    if let Some(HoldEnd { cause, held }) = end {
        write!(f, " held={} cause={}", Seconds(*held), cause.as_str())?;
    }
    write_limit(*mode, f)
}

fn write_limit(mode: Mode, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    mode.limit().map_or(Ok(()), |limit| write!(f, " limit={limit}"))
}
