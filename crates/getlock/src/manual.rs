//! What the manual page of `getlock` says beside its flags.

use clap::CommandFactory;
use getlockd_proto::manual::ManualPage;

use crate::args::{Cli, EXIT_CODES};

const PAGE: ManualPage<'_> = ManualPage {
    section: 1,
    description: "\
getlock takes a lock on a getlockd(8) server, runs a command, releases the lock, and exits with the command's exit \
code. The lock is held by a connection. It is released when the command ends, or when getlock itself ends for any reason. With --once the server keeps the lock \
after a success, until the window is over. With --lead the command runs each time getlock gets the lock, until a signal ends both.

If another session holds the lock, getlock waits for it, unless --nonblock or --wait is given. On a terminal it shows who \
holds the lock, for how long, and the place in the queue. Without a terminal it says so once the wait has lasted five seconds.

When the lock is lost while the command runs, the command gets SIGTERM, and SIGKILL after --kill-after. It is dead before \
another session is granted the lock, even if the network is cut silently. If getlock itself is killed with SIGKILL, the \
command dies with it on Linux, unless it is set-user-ID.

The signals TERM, HUP, INT, QUIT, USR1 and USR2 are passed on to the command.

The short options are those of flock(1). Its -o and -F are accepted and do nothing.",
    exit_status: EXIT_CODES,
    environment: &[
        ("GETLOCK_PASSWORD", "the password of --user. The command does not get it, unless --pass-password is given"),
        ("NO_COLOR", "print without colours"),
        ("GETLOCK_NAME", "set for the command: the lock that it runs under"),
        ("GETLOCK_FENCING_TOKEN", "set for the command: a number that grows with each grant of the lock"),
        ("GETLOCK_SESSION", "set for the command: the session ID"),
    ],
    examples: &[
        ("getlock nightly -- ./backup.sh", "Run a command, after waiting for the lock if need be:"),
        ("getlock -n nightly -- ./backup.sh", "Exit with 1 if the lock is held:"),
        (
            "0 * * * *  /usr/local/bin/getlock --once 55m hourly -- /opt/report/report.sh",
            "In the crontab of many machines, run a report on one of them each hour. Cron's PATH is short: give the \
             absolute path of getlock, and of the command.",
        ),
        ("getlock --permits 3 render -- ./render.sh", "Run at most three at a time:"),
        ("getlock accounts --also orders -- ./migrate.sh", "Hold two locks, both or none:"),
        ("getlock --lead scheduler -- ./scheduler.sh", "Run on one of many machines, and on another one if that fails:"),
        ("getlock --host getlocks://deploy@locks.example.org nightly -- ./backup.sh", "Log in, over TLS:"),
        ("getlock why nightly", "Show who is in the way:"),
        ("getlock watch deploy:", "Follow what happens to some locks:"),
        ("getlock kill 7", "End the session that holds the lock:"),
    ],
    see_also: &["flock(1)", "getlockd(8)", "crontab(5)"],
};

pub(crate) fn page() -> String {
    PAGE.render(&Cli::command())
}
