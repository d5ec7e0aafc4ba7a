# What contributors run. `just` lists it; CONTRIBUTING.md says when to run what.

set positional-arguments
set shell := ["bash", "-uc"]

# List the recipes.
_default:
    @just --list --unsorted

# What must pass before each commit: under 2 minutes once everything is built.
check: fmt clippy quick

# Is the code formatted?
fmt:
    cargo fmt --all --check

# Lints of all members, tests and benches.
clippy:
    cargo clippy --locked --workspace --all-targets -- -D warnings

# The unit tests and the integration tests that need nothing installed.
quick:
    cargo test --locked --workspace --lib --quiet
    cargo test --locked -p getlockd --test it --quiet

# All tests, or those whose names contain a word: `just test fencing`.
test *words:
    cargo test --locked "$@"

# All that must pass before a merge; as root it installs what the tests need. Half an hour or so.
ci:
    .ci/run

# The documentation, with private items, without warnings.
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

# The functions and files that one request passes: line, mysql or http. Needs valgrind.
walk wire *args:
    python3 benches/walk.py "$@"

# A bench of benches/README.md: `just bench wire`.
bench name *args:
    cargo bench --locked --bench {{ name }} -- "${@:2}"

# The instructions for a pair on each wire, beside those in benches/instructions.toml. Needs valgrind.
instructions:
    cargo bench --locked --bench instructions -- --check

# The locks and sessions in very many orders of their steps.
shuttle schedules="5000":
    SCHEDULES={{ schedules }} cargo test --locked --profile shuttle --features shuttle --test shuttle

# Build what people install, install it in fresh roots, and take a lock there. As root; .ci/run installs what it needs.
package:
    packaging/check

# Every decoder of bytes from outside, each for so many seconds: `just fuzz 600 line`.
fuzz seconds="20" *targets:
    fuzz/run "$@"

# Clients on all wires for so many minutes, after which nothing may be left.
soak minutes="10":
    SOAK_MINUTES={{ minutes }} cargo test --locked --release --test proof soak -- --nocapture

# Start a server from this tree, with the flags given.
run *args:
    cargo run --locked --bin getlockd -- "$@"
