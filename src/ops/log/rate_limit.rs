//! A rate limit for log lines: a few of each kind per second are written, the others are counted and reported in one line.
//!
//! Strangers can cause some lines as fast as they can send. Such lines must neither fill a disk nor keep the server busy.

use std::{
    collections::HashMap,
    fmt::{self, Write},
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

use crate::core::sync::{Rank, plain::Guarded};

/// How many lines from one place in the code are written per second.
const MAX_LINES: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// How much of a suppressed message the report quotes, in characters.
const MAX_WORDS: usize = 80;

/// Limits lines of `info` and more severe levels. Levels that an operator has to ask for are not limited.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(Arc<LineKinds>);

#[derive(Debug)]
struct LineKinds {
    known: Guarded<HashMap<Identifier, LineKind>>,
    /// Notified when a line was suppressed.
    more: Notify,
}

impl Default for LineKinds {
    fn default() -> Self {
        Self { known: Guarded::new(Rank::LogLines, HashMap::new()), more: Notify::new() }
    }
}

#[derive(Debug)]
struct LineKind {
    since: Instant,
    written: u32,
    /// How many lines were suppressed.
    more: u64,
    /// The message of the first suppressed line.
    words: String,
}

impl RateLimit {
    /// Reports suppressed lines once a second. Cancel-safe: [`RateLimit::flush`] reports the rest.
    pub async fn run(&self) {
        loop {
            self.0.more.notified().await;
            sleep(SECOND).await;
            self.flush();
        }
    }

    /// Reports suppressed lines now.
    pub fn flush(&self) {
        let kinds = std::mem::take(&mut *self.0.known.lock());
        for LineKind { more, words, .. } in kinds.into_values().filter(|kind| kind.more > 0) {
            tracing::warn!(more, line = words, "and {} more lines like this", grouped(more));
        }
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let mut known = self.0.known.lock();
        let new = || LineKind { since: Instant::now(), written: 0, more: 0, words: String::new() };
        let kind = known.entry(event.metadata().callsite()).or_insert_with(new);
        if kind.more == 0 && kind.since.elapsed() >= SECOND {
            *kind = new();
        }
        if kind.written < MAX_LINES {
            kind.written += 1;
            return true;
        }
        kind.more += 1;
        if kind.more == 1 {
            event.record(&mut Message(&mut kind.words));
            self.0.more.notify_one();
        }
        false
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_asked_for = *metadata.level() > Level::INFO;
        // This module writes at most one line per kind.
        is_asked_for || metadata.target() == module_path!() || self.admits(event)
    }
}

/// Extracts the message of an event.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}").chars().take(MAX_WORDS).collect();
        }
    }
}

/// With commas, as people read long numbers: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        // Nothing goes wrong when a String is written to.
        let _ = grouped.write_char(digit);
    }
    grouped
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
            event.record(&mut Message(&mut words));
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
            rate_limit.flush();
            tracing::warn!(target: "elsewhere", "refused");
        });
        let written = written.0.lock().unwrap();
        assert_eq!(written.len(), 13, "{written:?}");
        assert_eq!(written[10..], ["something else", "and 1,234 more lines like this", "refused"]);
    }

    #[test]
    fn long_numbers_have_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
