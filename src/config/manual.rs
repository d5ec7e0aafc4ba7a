//! The manual page of `getlockd`, and its completions.

use clap::CommandFactory;
use clap_complete::Shell;
use getlockd_proto::manual::ManualPage;

use crate::config::Cli;

const PAGE: ManualPage<'_> = ManualPage {
    section: 8,
    description: "\
getlockd keeps named locks in memory. A lock lives as long as the connection, or the lease, that holds it: it is released \
when the client releases it, disconnects, or vanishes. Clients use a line protocol (port 3305), MySQL's protocol (3307), \
or HTTP and gRPC (3308).

By default getlockd listens on loopback only, and every user of the machine has full access. To listen elsewhere, \
give it a file of users (--users).

SIGTERM and SIGINT stop the server: sessions that hold locks have --drain to finish. A second signal ends it at once. \
SIGHUP makes it read the files of users, certificates and keys again.",
    exit_status: &[
        ("0", "the server was stopped, or the command has done what was asked for"),
        ("1", "the command line is wrong, the server could not start, or a second signal ended it; with ping: no answer; with store: no store"),
    ],
    environment: &[],
    examples: &[
        ("getlockd", "Serve this machine:"),
        ("getlockd user deploy --lock deploy: >> users.toml", "Add a user, who may take locks that start with deploy: ."),
        (
            "getlockd --line 0.0.0.0:3305 --users users.toml --tls-cert cert.pem --tls-key key.pem",
            "Serve others, over TLS:",
        ),
        ("getlockd ping", "Ask a running server whether it answers:"),
        ("getlockd store --file /var/lib/getlockd/leases", "Show the leases that the file of a stopped server has:"),
    ],
    see_also: &["getlock(1)", "systemd.socket(5)"],
};

/// The page.
pub fn page() -> String {
    PAGE.render(&Cli::command())
}

/// The completion script for a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "getlockd", &mut script);
    script
}
