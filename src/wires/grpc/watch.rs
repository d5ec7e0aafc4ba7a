//! `Watch`: the events of locks, as a stream. And what a `Hold` stream is told of those who wait.

use std::sync::Arc;

use super::{
    lock_mode,
    proto::{
        HoldResponse, LockEvent as LockEventMessage, Missed, Waiting, WatchRequest, WatchResponse,
        watch_response::Event,
    },
};
use crate::{
    core::{
        events::{EventId, LockEvent, WaitEvent},
        session::{LockService, Told},
    },
    name::Name,
    wires::web::{Peer, Watched, millis},
};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// The messages of a call.
pub(super) fn watch(
    service: &Arc<LockService>,
    peer: &Peer,
    WatchRequest { prefix, after }: WatchRequest,
) -> Result<impl Stream<Item = Result<WatchResponse, Status>> + use<>, Status> {
    let prefix = if prefix.is_empty() { None } else { Some(super::name(&prefix)?) };
    // What no server has given is behind a gap, as is what this one does not know any more.
    let after = Some(after).filter(|after| !after.is_empty());
    let after = after.map(|after| after.parse().unwrap_or(EventId::UNKNOWN));
    let events = watched(service, peer, prefix, after)?;
    Ok(events.map(|Watched { id, told }| {
        Ok(WatchResponse { id: id.to_string(), event: told.as_ref().and_then(event) })
    }))
}

fn watched(
    service: &Arc<LockService>,
    peer: &Peer,
    prefix: Option<Name>,
    after: Option<EventId>,
) -> Result<impl Stream<Item = Watched> + use<>, Status> {
    crate::wires::web::watch(service, peer, prefix, after)
        .map_err(|exceeded| Status::resource_exhausted(exceeded.to_string()))
}

fn event(told: &Told) -> Option<Event> {
    match told {
        Told::Lock(event) => {
            let message = lock_event(event);
            Some(match event.kind() {
                "taken" => Event::Taken(message),
                "freed" => Event::Freed(message),
                _ => Event::Lost(message),
            })
        }
        Told::Missed(count) => Some(Event::Missed(Missed { count: *count })),
        Told::Waiting(_) => None,
    }
}

fn lock_event(LockEvent { name, hold, end }: &LockEvent) -> LockEventMessage {
    LockEventMessage {
        name: name.as_str().to_owned(),
        mode: lock_mode(hold.mode),
        session: hold.session.0,
        fencing_token: hold.token,
        held_ms: end.map(|end| millis(end.held)),
        cause: end.map(|end| end.cause.as_str().to_owned()),
        limit: hold.mode.limit().map(u32::from),
    }
}

/// What a `Hold` stream is told; it watches nothing.
pub(super) fn hold_event(told: &Told) -> Option<HoldResponse> {
    match told {
        Told::Waiting(wait) => {
            let WaitEvent { name, session, mode, waiters } = &**wait;
            let waiting = Waiting {
                name: name.as_str().to_owned(),
                session: session.0,
                mode: lock_mode(*mode),
                waiters: *waiters as u64,
                limit: mode.limit().map(u32::from),
            };
            Some(HoldResponse { waiting: Some(waiting), ..HoldResponse::default() })
        }
        Told::Missed(count) => {
            Some(HoldResponse { missed: Some(Missed { count: *count }), ..HoldResponse::default() })
        }
        Told::Lock(_) => None,
    }
}
