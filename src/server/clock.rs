//! The clock on the wall, as far as it can be told that it is wrong.

use std::time::{Duration, SystemTime};

use getlockd_proto::moment::rfc3339;

/// No part of the program is older, in seconds since 1970: the start of 2026. Raised with a release.
const WRITTEN: u64 = 1_767_225_600;

/// When it was built, if who built it says so.
const BUILT: Option<&str> = option_env!("SOURCE_DATE_EPOCH");

/// What is to be said where the clock shows a time before the program was there.
pub(super) fn warning() -> Option<String> {
    let built = BUILT.and_then(|built| built.parse().ok()).unwrap_or(WRITTEN);
    behind(SystemTime::now(), built.max(WRITTEN))
}

fn behind(now: SystemTime, built: u64) -> Option<String> {
    let built = SystemTime::UNIX_EPOCH + Duration::from_secs(built);
    let warning = || {
        format!(
            "the clock shows {}, and this program is of {}: fencing tokens begin at the clock, and may be lower \
             than those given before; set the clock and start it again",
            rfc3339(now),
            rfc3339(built)
        )
    };
    (now < built).then(warning)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn clock_before_the_build_gives_a_warning() {
        let told = behind(SystemTime::UNIX_EPOCH, WRITTEN).unwrap();
        assert!(
            told.starts_with("the clock shows 1970-01-01T00:00:00") && told.contains("of 2026-01-01T"),
            "{told}"
        );
        let built = SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN);
        assert_eq!(behind(built, WRITTEN), None);
        assert!(behind(built, WRITTEN + 1).is_some());
    }
}
