//! `/events`: scenes for the live page, as server-sent events.
//!
//! A user who looks for the same name twice sees the same bytes, made once. A scene is made at most once a second, one
//! at a time, apart from the threads that serve; where there are very many locks it is made less often.

use std::{collections::HashMap, future::ready, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::{
    select,
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    api::name,
    json::{Asked, Failure},
    snapshot::{Clock, SnapshotJson},
};
use crate::{
    core::{
        lease::Leases,
        session::{LockService, Principal, Watch},
        sync::{Rank, plain::Guarded},
        users::User,
    },
    name::Name,
    wires::web::{Peer, event_stream},
};

/// The most different names that they look for, and that one user does.
const MAX_FEEDS: (usize, usize) = (16, 4);

/// How often there is a scene, if it has changed.
const EVERY: Duration = Duration::from_secs(1);

/// So many times as long as a scene takes to make nothing is done: a twentieth of a core at most.
const REST: u32 = 20;

pub(super) fn routes(service: &Arc<LockService>, stop: CancellationToken) -> Router<Arc<Leases>> {
    let feeds = Arc::new(Feeds {
        service: service.clone(),
        stop,
        clock: Clock::start(),
        turn: Semaphore::new(1),
        live: Guarded::new(Rank::Snapshots, Scenes::new()),
    });
    Router::new().route("/events", get(move |peer, asked| ready(events(&feeds, peer, asked))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Find {
    find: Option<String>,
}

fn events(
    feeds: &Arc<Feeds>,
    Extension(peer): Extension<Peer>,
    Asked(asked): Asked<Find>,
) -> Result<Response, Failure> {
    let find = asked.find.filter(|find| !find.is_empty());
    let find = find.map(|find| name(&find)).transpose()?;
    let place = feeds.service.shared().viewers.take(peer.quota_key(), 1)?;
    let user = peer.viewer().0.map(|user| user.name().into());
    let scenes = feeds.subscribe(Look { user, find }).ok_or_else(too_many_names)?;
    let clock = feeds.clock;
    let beat = move || frame("clock", &clock.at(Instant::now()).to_string());
    let body = event_stream(&peer, scenes, beat, place);
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

fn too_many_names() -> Failure {
    let (names, of_one) = MAX_FEEDS;
    let message = format!("{names} names are looked for already, or {of_one} of yours; try again");
    Failure { code: StatusCode::SERVICE_UNAVAILABLE, status: "Unavailable", message }
}

fn frame(event: &str, data: &str) -> Bytes {
    format!("event: {event}\ndata: {data}\n\n").into()
}

/// What is looked for, and the newest scene of each.
#[derive(Debug)]
struct Feeds {
    service: Arc<LockService>,
    stop: CancellationToken,
    clock: Clock,
    /// To make a scene. Not that of lists: who waits for it rests the longer, so that all scenes together
    /// take no more than a part of a core.
    turn: Semaphore,
    live: Guarded<Scenes>,
}

type Scenes = HashMap<Look, watch::Sender<Bytes>>;

/// Who looks, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    /// None where there are no users.
    user: Option<Box<str>>,
    find: Option<Name>,
}

/// The user is in the file of users no more.
struct Gone;

impl Feeds {
    /// The scenes of a look, which begin when the first looks and end when the last has left.
    fn subscribe(self: &Arc<Self>, look: Look) -> Option<watch::Receiver<Bytes>> {
        let mut live = self.live.lock();
        if let Some(scenes) = live.get(&look) {
            return Some(scenes.subscribe());
        }
        let is_of_same = |other: &&Look| look.user.is_some() && other.user == look.user;
        if live.len() >= MAX_FEEDS.0 || live.keys().filter(is_of_same).count() >= MAX_FEEDS.1 {
            return None;
        }
        let (sender, scenes) = watch::channel(Bytes::new());
        live.insert(look.clone(), sender.clone());
        tokio::spawn(self.clone().feed(look, sender));
        Some(scenes)
    }

    async fn feed(self: Arc<Self>, look: Look, sender: watch::Sender<Bytes>) {
        while !self.is_over(&look, &sender) {
            let begin = Instant::now();
            if let Some(snapshot) = self.make(look.clone()).await {
                sender.send_if_modified(|last| {
                    let is_news = *last != snapshot;
                    *last = snapshot;
                    is_news
                });
            }
            select! {
                () = sleep(EVERY.max(begin.elapsed() * REST)) => {}
                () = sender.closed() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Whether nobody looks any more, or the user is no more; then the feed is gone.
    fn is_over(&self, look: &Look, sender: &watch::Sender<Bytes>) -> bool {
        let is_gone = self.stop.is_cancelled() || self.user(look).is_err();
        let mut live = self.live.lock();
        let is_over = is_gone || sender.receiver_count() == 0;
        if is_over {
            live.remove(look);
        }
        is_over
    }

    /// The user with the rights of now; none where there are no users.
    fn user(&self, look: &Look) -> Result<Option<Arc<User>>, Gone> {
        let find = |name| self.service.users().and_then(|users| users.find(name)).ok_or(Gone);
        look.user.as_deref().map(find).transpose()
    }

    async fn make(self: &Arc<Self>, look: Look) -> Option<Bytes> {
        let _turn = self.turn.acquire().await.ok()?;
        let feeds = self.clone();
        spawn_blocking(move || feeds.snapshot(&look)).await.ok()?.ok()
    }

    fn snapshot(&self, look: &Look) -> Result<Bytes, Gone> {
        let (service, clock) = (&self.service, self.clock);
        let user = self.user(look)?;
        let snapshot = service
            .query(&Watch { find: look.find.as_ref() }, Principal(user.as_deref()))
            .map_err(|_| Gone)?;
        let told = serde_json::to_string(&SnapshotJson::of(&snapshot, clock, clock.at(service.started())));
        // JSON has no line ends of its own: it is one line of data.
        Ok(told.map(|told| frame("scene", &told)).unwrap_or_default())
    }
}
