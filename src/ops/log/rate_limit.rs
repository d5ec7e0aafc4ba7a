//! Of each kind of line a few in a second; the others are counted, and told in one line.
//!
//! Strangers can cause some lines as fast as they can send. They must not fill a disk, nor keep the
//! server busy with writing.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::grouped;
use crate::core::sync::{Rank, plain::Guarded};

/// So many lines that stand at one place in the code are written in a second.
const FEW: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// The longest part of a line by which it is known again, in characters.
const MAX_WORDS: usize = 80;

/// Lets a few lines of each kind through, of those that are written without being asked for: `info` and
/// what is more severe.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(Arc<Kinds>);

#[derive(Debug)]
struct Kinds {
    known: Guarded<HashMap<Identifier, Kind>>,
    /// There is something that was not written.
    more: Notify,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { known: Guarded::new(Rank::LogLines, HashMap::new()), more: Notify::new() }
    }
}

#[derive(Debug)]
struct Kind {
    since: Instant,
    written: u32,
    /// How many were not.
    more: u64,
    /// What the first of those says.
    words: String,
}

impl RateLimit {
    /// Tells once a second of what was not written. Cancel-safe: it is told by [`RateLimit::tell`].
    pub async fn tell_each_second(&self) {
        loop {
            self.0.more.notified().await;
            sleep(SECOND).await;
            self.tell();
        }
    }

    /// Tells now of what was not written.
    pub fn tell(&self) {
        let kinds = std::mem::take(&mut *self.0.known.lock());
        for Kind { more, words, .. } in kinds.into_values().filter(|kind| kind.more > 0) {
            tracing::warn!(more, line = words, "and {} more", grouped(more));
        }
    }

    fn lets_through(&self, event: &Event<'_>) -> bool {
        let mut known = self.0.known.lock();
        let new = || Kind { since: Instant::now(), written: 0, more: 0, words: String::new() };
        let kind = known.entry(event.metadata().callsite()).or_insert_with(new);
        if kind.more == 0 && kind.since.elapsed() >= SECOND {
            *kind = new();
        }
        if kind.written < FEW {
            kind.written += 1;
            return true;
        }
        kind.more += 1;
        if kind.more == 1 {
            event.record(&mut Words(&mut kind.words));
            self.0.more.notify_one();
        }
        false
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_asked_for = *metadata.level() > Level::INFO;
        // Its own lines are as few as there are kinds.
        is_asked_for || metadata.target() == module_path!() || self.lets_through(event)
    }
}

/// Takes the words of a line out of it.
struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}").chars().take(MAX_WORDS).collect();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<std::sync::Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut words = String::new();
            event.record(&mut Words(&mut words));
            self.0.lock().unwrap().push(words);
        }
    }

    #[test]
    fn repeated_lines_are_counted() {
        let (rate_limit, written) = (RateLimit::default(), Written::default());
        let log = tracing_subscriber::registry().with(rate_limit.clone()).with(written.clone());
        tracing::subscriber::with_default(log, || {
            for n in 0..1_244 {
                tracing::warn!(target: "elsewhere", n, "refused");
            }
            tracing::warn!(target: "elsewhere", "something else");
            rate_limit.tell();
            tracing::warn!(target: "elsewhere", "refused");
        });
        let written = written.0.lock().unwrap();
        assert_eq!(written.len(), 13, "{written:?}");
        assert_eq!(written[10..], ["something else", "and 1,234 more", "refused"]);
    }
}
