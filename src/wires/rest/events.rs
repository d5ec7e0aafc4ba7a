//! `/events`: snapshots for the live page, as server-sent events.
//!
//! Pages of one user that show the same get the same bytes, made once. A snapshot is made at most once a second,
//! one at a time, apart from the threads that serve; where there are very many locks it is made less often.

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
    handler::{ApiError, UrlQuery},
    snapshot::{SnapshotJson, WallClock},
};
use crate::{
    core::{
        lock::LockOrder,
        session::{LockService, Principal, Watch},
        sync::{Rank, plain::Guarded},
        users::User,
    },
    name::Name,
    wires::web::{AppState, Peer, event_stream},
};

/// The most different searches of pages: what they look for, or in which order. A page that does neither is not counted:
/// there is one for each user at most.
const MAX_SEARCHES: usize = 16;

/// The most of them that one user looks for.
const MAX_SEARCHES_OF_USER: usize = 4;

/// How often a snapshot is sent, if it has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The pause between snapshots, in times that a snapshot takes to make: a twentieth of a core at most.
const PAUSE: u32 = 20;

pub(super) fn routes(service: &Arc<LockService>, stop: CancellationToken) -> Router<AppState> {
    let feeds = Arc::new(Feeds {
        service: service.clone(),
        stop,
        clock: WallClock::start(),
        turn: Semaphore::new(1),
        live: Guarded::new(Rank::Snapshots, Snapshots::new()),
    });
    Router::new().route("/events", get(move |peer, params| ready(events(&feeds, peer, params))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewParams {
    find: Option<String>,
    #[serde(default)]
    sort: Sort,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Blocked,
    Age,
    Name,
}

impl From<Sort> for LockOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Blocked => Self::Blocked,
            Sort::Age => Self::Age,
            Sort::Name => Self::Name,
        }
    }
}

fn events(
    feeds: &Arc<Feeds>,
    Extension(peer): Extension<Peer>,
    UrlQuery(params): UrlQuery<ViewParams>,
) -> Result<Response, ApiError> {
    let find = params.find.filter(|find| !find.is_empty());
    let find = find.map(|find| Name::new(&find)).transpose()?;
    let place = feeds.service.shared().viewers.take(peer.quota_key(), 1)?;
    let user = peer.principal().0.map(|user| user.name().into());
    let snapshots =
        feeds.subscribe(FeedKey { user, find, order: params.sort.into() }).ok_or_else(too_many_views)?;
    let clock = feeds.clock;
    let heartbeat = move || frame("clock", &clock.at(Instant::now()).to_string());
    let body = event_stream(&peer, snapshots, heartbeat, place);
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

fn too_many_views() -> ApiError {
    let message = format!(
        "the page is open with {MAX_SEARCHES} different searches, or {MAX_SEARCHES_OF_USER} of yours; close one, or open the page without a search"
    );
    ApiError { code: StatusCode::SERVICE_UNAVAILABLE, status: "Unavailable", message }
}

fn frame(event: &str, data: &str) -> Bytes {
    format!("event: {event}\ndata: {data}\n\n").into()
}

/// The views in use, and the newest snapshot of each.
#[derive(Debug)]
struct Feeds {
    service: Arc<LockService>,
    stop: CancellationToken,
    clock: WallClock,
    /// Makes one snapshot at a time. Apart from the turns of lists: a feed that waits here pauses for longer, so that all
    /// snapshots together take no more than a part of a core.
    turn: Semaphore,
    live: Guarded<Snapshots>,
}

type Snapshots = HashMap<FeedKey, watch::Sender<Bytes>>;

/// Which locks a page shows, and for which user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FeedKey {
    /// None where there are no users.
    user: Option<Box<str>>,
    find: Option<Name>,
    order: LockOrder,
}

impl FeedKey {
    fn is_search(&self) -> bool {
        self.find.is_some() || self.order != LockOrder::Blocked
    }
}

fn has_room_for_search(live: &Snapshots, key: &FeedKey) -> bool {
    let searches = || live.keys().filter(|other| other.is_search());
    let is_of_same = |other: &&FeedKey| key.user.is_some() && other.user == key.user;
    searches().count() < MAX_SEARCHES && searches().filter(is_of_same).count() < MAX_SEARCHES_OF_USER
}

/// The user is no longer in the file of users.
struct UserRemoved;

impl Feeds {
    /// The snapshots of a feed. They begin with its first viewer, and end when the last has left.
    fn subscribe(self: &Arc<Self>, key: FeedKey) -> Option<watch::Receiver<Bytes>> {
        let mut live = self.live.lock();
        if let Some(snapshots) = live.get(&key) {
            return Some(snapshots.subscribe());
        }
        if key.is_search() && !has_room_for_search(&live, &key) {
            return None;
        }
        let (sender, snapshots) = watch::channel(Bytes::new());
        live.insert(key.clone(), sender.clone());
        tokio::spawn(self.clone().feed(key, sender));
        Some(snapshots)
    }

    async fn feed(self: Arc<Self>, key: FeedKey, sender: watch::Sender<Bytes>) {
        while !self.is_over(&key, &sender) {
            let begin = Instant::now();
            if let Some(snapshot) = self.make(key.clone()).await {
                sender.send_if_modified(|last| {
                    let is_news = *last != snapshot;
                    *last = snapshot;
                    is_news
                });
            }
            select! {
                () = sleep(INTERVAL.max(begin.elapsed() * PAUSE)) => {}
                () = sender.closed() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Whether the last viewer has left, or the user is removed. Then the feed is removed too.
    fn is_over(&self, key: &FeedKey, sender: &watch::Sender<Bytes>) -> bool {
        let is_gone = self.stop.is_cancelled() || self.user(key).is_err();
        let mut live = self.live.lock();
        let is_over = is_gone || sender.receiver_count() == 0;
        if is_over {
            live.remove(key);
        }
        is_over
    }

    /// The user with the rights of now; none where there are no users.
    fn user(&self, key: &FeedKey) -> Result<Option<Arc<User>>, UserRemoved> {
        let find = |name| self.service.users().and_then(|users| users.find(name)).ok_or(UserRemoved);
        key.user.as_deref().map(find).transpose()
    }

    async fn make(self: &Arc<Self>, key: FeedKey) -> Option<Bytes> {
        let _turn = self.turn.acquire().await.ok()?;
        let feeds = self.clone();
        spawn_blocking(move || feeds.snapshot(&key)).await.ok()?.ok()
    }

    fn snapshot(&self, key: &FeedKey) -> Result<Bytes, UserRemoved> {
        let (service, clock) = (&self.service, self.clock);
        let user = self.user(key)?;
        let snapshot = service
            .query(&Watch { find: key.find.as_ref(), order: key.order }, Principal(user.as_deref()))
            .map_err(|_| UserRemoved)?;
        let json = SnapshotJson::of(&snapshot, clock, clock.at(service.started()), key.user.as_deref());
        let json = serde_json::to_string(&json);
        // JSON has no line ends of its own: it is one line of data.
        Ok(json.map(|json| frame("scene", &json)).unwrap_or_default())
    }
}
