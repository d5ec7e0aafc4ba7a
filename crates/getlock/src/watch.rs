//! `getlock watch`: what happens to locks, as it happens.

use std::{
    io::{Write, stdout},
    time::SystemTime,
};

use getlockd_client::{EndedHold, Error, WatchEvent, WatchedHold, written};
use getlockd_proto::moment::rfc3339;
use serde_json::{Value, json};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    rows::{json_line, millis, mode},
    signals::Signals,
    table::age,
};

/// Prints events until a signal comes, the reader goes or the connection ends.
///
/// Cancel-safe.
pub(crate) async fn watch(server: &ServerArgs, prefix: &str, as_json: bool) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(Failure::system)?;
    let mut watch = server.connect().await?.watch(prefix).await?;
    loop {
        let event = tokio::select! {
            event = watch.recv() => event.map_err(Error::from)?,
            _ = signals.next() => return Ok(exit::OK),
        };
        let line = if as_json { json_line(json(&event)) } else { line(&event) };
        let mut out = stdout().lock();
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            return exit::when_written(Err(error));
        }
    }
}

fn line(event: &WatchEvent) -> String {
    let at = rfc3339(SystemTime::now());
    match event {
        WatchEvent::Taken(hold) => {
            let (name, token) = (written(&hold.name), hold.fencing_token);
            format!(
                "{at} taken {name} by session {}, {}, fencing token {token}",
                hold.session,
                mode(hold.mode)
            )
        }
        WatchEvent::Freed(ended) => format!("{at} freed {}", end(ended)),
        WatchEvent::Lost(ended) => format!("{at} lost {}", end(ended)),
        WatchEvent::Missed(Some(count)) => format!("{at} missed {count} events"),
        _ => format!("{at} missed events"),
    }
}

fn end(EndedHold { hold, held, cause, .. }: &EndedHold) -> String {
    format!("{} by session {} after {}: {}", written(&hold.name), hold.session, age(*held), written(cause))
}

/// As HTTP has it, with the kind of the event.
fn json(event: &WatchEvent) -> Value {
    let ended = |event: &str, ended: &EndedHold| {
        let mut object = hold(event, &ended.hold);
        object["heldMs"] = json!(millis(ended.held));
        object["cause"] = json!(ended.cause);
        object
    };
    match event {
        WatchEvent::Taken(taken) => hold("taken", taken),
        WatchEvent::Freed(freed) => ended("freed", freed),
        WatchEvent::Lost(lost) => ended("lost", lost),
        WatchEvent::Missed(count) => json!({ "event": "missed", "count": count }),
        _ => json!({ "event": "missed" }),
    }
}

fn hold(event: &str, hold: &WatchedHold) -> Value {
    json!({
        "event": event,
        "name": hold.name,
        "mode": hold.mode.to_string(),
        "limit": hold.mode.limit(),
        "session": hold.session,
        "fencingToken": hold.fencing_token,
    })
}
