//! A check of the system clock: it cannot be earlier than the build of this program.

use std::time::{Duration, SystemTime};

use getlockd_proto::moment::rfc3339;

/// The start of 2026, in seconds since 1970. No build is older. To be raised with each release.
const WRITTEN: u64 = 1_767_225_600;

/// When the program was built, in seconds since 1970, if the build environment says so.
const BUILT: Option<&str> = option_env!("SOURCE_DATE_EPOCH");

/// The warning for a clock that is earlier than the build of the program.
pub(super) fn warning() -> Option<String> {
    let built = BUILT.and_then(|built| built.parse().ok()).unwrap_or(WRITTEN);
    behind(SystemTime::now(), built.max(WRITTEN))
}

fn behind(now: SystemTime, built: u64) -> Option<String> {
    let built = SystemTime::UNIX_EPOCH + Duration::from_secs(built);
    let warning = || {
        format!(
            "the clock shows {}, which is before this program was built ({}): fencing tokens start at the clock \
             and may be lower than earlier ones; set the clock and restart the server",
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
            told.starts_with("the clock shows 1970-01-01T00:00:00") && told.contains("built (2026-01-01T"),
            "{told}"
        );
        let built = SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN);
        assert_eq!(behind(built, WRITTEN), None);
        assert!(behind(built, WRITTEN + 1).is_some());
    }
}
