//! The log: which lines are written, and how many of each kind.

mod rate_limit;
mod visible;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    str::FromStr,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

pub use rate_limit::RateLimit;
pub use visible::VisibleLines;

/// The default of `--log-level`.
pub const DEFAULT_LEVEL: &str = "info";

/// Which lines are written: a level for this program, and optional levels for its modules and for other crates.
///
/// By default other crates log only errors. They warn about invalid input, and so could write a line for every few bytes
/// that a stranger sends.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl Filter {
    /// The filter as `tracing_subscriber` takes it.
    pub fn targets(&self) -> Targets {
        self.0.clone()
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut own, mut named) = (LevelFilter::INFO, Vec::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((target, wanted)) => named.push((target.trim().to_owned(), level(wanted.trim())?)),
                None => own = level(part)?,
            }
        }
        if named.iter().any(|(target, _)| target.is_empty() || target.contains(char::is_whitespace)) {
            return Err(EXPECTED.to_owned());
        }
        let targets = Targets::new().with_default(own.min(LevelFilter::ERROR));
        Ok(Self(targets.with_target(env!("CARGO_CRATE_NAME"), own).with_targets(named)))
    }
}

const EXPECTED: &str =
    "expected error, warn, info, debug, trace or off, and optionally levels for crates, such as info,h2=warn";

fn level(text: &str) -> Result<LevelFilter, String> {
    // tracing would also take a number and the empty string.
    let is_word = !text.is_empty() && text.parse::<u8>().is_err();
    let named = text.parse().ok().filter(|_| is_word);
    named.ok_or_else(|| EXPECTED.to_owned())
}

/// Makes a panic a line of the log, in the log's format. A panic ends the connection that it happens in and releases its
/// locks; other connections go on.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(
            place,
            backtrace,
            what = info.payload_as_str(),
            "bug in getlockd: a task panicked and its connection was closed; please report this line"
        );
    }));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use tracing::Level;

    use super::*;

    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writes(filter: &str, target: &str, level: Level) -> bool {
        filter.parse::<Filter>().unwrap().targets().would_enable(target, &level)
    }

    #[test]
    fn other_crates_log_only_errors_by_default() {
        for own in ["info", "debug", "trace"] {
            assert!(writes(own, "getlockd::user", Level::INFO), "{own}");
            assert!(!writes(own, "h2::proto::ping_pong", Level::WARN), "{own}");
            assert!(writes(own, "hyper", Level::ERROR), "{own}");
        }
        assert!(writes("info, h2=warn", "h2::proto::ping_pong", Level::WARN));
        assert!(!writes("info,h2=warn", "hyper", Level::WARN));
        assert!(writes("h2=off", "getlockd", Level::INFO) && !writes("h2=off", "h2", Level::ERROR));
        assert!(writes("warn,getlockd::user=debug", "getlockd::user", Level::DEBUG));
        assert!(!writes("off", "getlockd", Level::ERROR) && !writes("off", "h2", Level::ERROR));
    }

    #[test]
    fn invalid_filter_is_refused() {
        for wrong in ["", "loud", "3", "info,", "h2=", "=warn", "h2=3", "info h2=warn"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn panic_is_a_log_line() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = tracing_subscriber::fmt().json().flatten_event(true);
        let to = written.clone();
        let lines = lines.with_writer(move || Captured(to.clone())).finish();
        let usual = panic::take_hook();
        tracing::subscriber::with_default(lines, || {
            log_panics();
            assert!(panic::catch_unwind(|| panic!("planned")).is_err());
        });
        panic::set_hook(usual);
        let line = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(line.contains(r#""what":"planned""#) && line.contains("src/ops/log.rs:"), "{line}");
    }
}
