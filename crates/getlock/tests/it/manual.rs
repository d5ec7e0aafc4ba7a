//! The manual page.

use crate::{GETLOCK, common::manual::check_manual};

#[test]
fn manual_page_is_whole_and_rendered_without_warnings() {
    let said = [
        "--kill-after TIME",
        "getlock why [OPTIONS] NAME",
        "GETLOCK_PASSWORD",
        "75 ",
        "flock(1), getlockd(8)",
    ];
    check_manual(GETLOCK, &said);
}
