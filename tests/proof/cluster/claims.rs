//! What clients believed to hold, and when, by one clock: no two of them at the same time, and tokens that grow.
//!
//! This is apart from the order that `linear` searches: it asks less of the server and more of the clock. A belief
//! ends when the client has released, was told, or by the client's own rule.

use super::disturbance::Disturbances;

/// Why a client believed that it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// A lease: for its time to live since the last heartbeat that was answered was sent.
    Lease,
    /// `KEEPALIVE`: until the send of a question and what its answer says is left.
    Told,
    /// A connection that was open. What its client hears may be late, by a cut.
    Open,
}

/// A lock that a client believed to hold. Times in nanoseconds of one clock.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub name: usize,
    pub basis: Basis,
    pub is_shared: bool,
    /// The node by which it came.
    pub node: usize,
    pub asked: u64,
    pub told: u64,
    pub until: u64,
    /// It ended as the connection did: its client reads of that a little later than the next of its grant.
    pub is_closed: bool,
    pub token: u64,
}

/// What must not be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// Two that exclude each other at the same time.
    Overlap,
    /// A grant was told behind one with a higher token, while its client could believe it.
    ToldLate,
    /// A grant that was asked for behind another has no higher token.
    Token,
}

/// What came of all pairs of claims.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub violations: Vec<(Violation, Claim, Claim)>,
    /// Overlaps of clients that could not hear: they were cut off, or their node stood still, and they do not ask.
    pub excused: u64,
    pub pairs: u64,
}

/// What a connection's end may take to be read.
const READ: u64 = 250_000_000;

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        self.name == other.name && !(self.is_shared && other.is_shared)
    }
}

/// Compares all claims of a round.
pub(super) fn compare(claims: &[Claim], disturbances: &Disturbances) -> Findings {
    let mut findings = Findings::default();
    let mut claims: Vec<_> = claims.iter().collect();
    claims.sort_by_key(|claim| claim.told);
    for (place, first) in claims.iter().enumerate() {
        for second in &claims[place + 1..] {
            let is_token_wrong = first.told < second.asked && first.token >= second.token
                || second.told < first.asked && second.token >= first.token;
            if is_token_wrong && first.excludes(second) {
                findings.add(Violation::Token, first, second);
            }
            if first.excludes(second) {
                findings.pairs += 1;
                findings.look(first, second, disturbances);
            }
        }
    }
    findings
}

impl Findings {
    fn add(&mut self, violation: Violation, first: &Claim, second: &Claim) {
        self.violations.push((violation, first.clone(), second.clone()));
    }

    /// `first` was told before `second`.
    fn look(&mut self, first: &Claim, second: &Claim, disturbances: &Disturbances) {
        if second.token < first.token {
            // The second is the older grant. It counts only if its client could believe it, for however short.
            let is_late = second.until > second.told;
            match second.basis {
                _ if !is_late => {}
                Basis::Open if disturbances.stood_still(second.asked, second.told) => self.excused += 1,
                _ => self.add(Violation::ToldLate, first, second),
            }
            return;
        }
        let slack = match first.basis {
            _ if first.is_closed => READ + disturbances.stalled(first.told, first.until),
            // A lease runs by the clock of the server, which may be as fast as that.
            Basis::Lease => disturbances.fast_clock(first.until - first.told),
            Basis::Told | Basis::Open => 0,
        };
        if second.told + slack >= first.until {
            return;
        }
        if first.basis == Basis::Open && disturbances.cut_off(first.node, first.told, second.told) {
            self.excused += 1;
        } else {
            self.add(Violation::Overlap, first, second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Told so many seconds after the start, with this token, and believed until then.
    fn claim(basis: Basis, told: u64, until: u64, token: u64) -> Claim {
        let (told, until) = (told * SECOND, until * SECOND);
        Claim {
            name: 0,
            basis,
            is_shared: false,
            node: 0,
            asked: told - 1,
            told,
            until,
            is_closed: false,
            token,
        }
    }

    fn found(claims: &[Claim], disturbances: &Disturbances) -> Vec<Violation> {
        let found = compare(claims, disturbances).violations;
        found.into_iter().map(|(violation, ..)| violation).collect()
    }

    #[test]
    fn holds_in_turn_are_right() {
        let claims = [claim(Basis::Told, 1, 2, 7), claim(Basis::Lease, 2, 5, 8), claim(Basis::Open, 5, 6, 9)];
        assert_eq!(found(&claims, &Disturbances::default()), []);
    }

    #[test]
    fn overlap_is_found_on_every_ground_of_belief() {
        for basis in [Basis::Told, Basis::Lease, Basis::Open] {
            let claims = [claim(basis, 1, 5, 7), claim(Basis::Open, 3, 4, 8)];
            assert_eq!(found(&claims, &Disturbances::default()), [Violation::Overlap], "{basis:?}");
        }
    }

    #[test]
    fn end_of_a_connection_may_be_read_a_little_later() {
        for (late, expected) in [(READ, vec![]), (READ + 1, vec![Violation::Overlap])] {
            let mut claims = [claim(Basis::Told, 1, 3, 7), claim(Basis::Open, 3, 4, 8)];
            claims[0].is_closed = true;
            claims[0].until += late;
            assert_eq!(found(&claims, &Disturbances::default()), expected);
        }
    }

    #[test]
    fn overlap_of_shared_holders_or_other_names_is_none() {
        let mut claims = [claim(Basis::Told, 1, 5, 7), claim(Basis::Told, 3, 4, 8)];
        claims[0].is_shared = true;
        assert_eq!(found(&claims, &Disturbances::default()), [Violation::Overlap]);
        claims[1].is_shared = true;
        assert_eq!(found(&claims, &Disturbances::default()), []);
        claims[1].is_shared = false;
        claims[1].name = 1;
        assert_eq!(found(&claims, &Disturbances::default()), []);
    }

    #[test]
    fn only_a_client_that_cannot_hear_and_does_not_ask_is_excused() {
        let mut cut = Disturbances::default();
        cut.cut_client(0, 2 * SECOND, 4 * SECOND);
        for (basis, expected) in [(Basis::Open, vec![]), (Basis::Told, vec![Violation::Overlap])] {
            let claims = [claim(basis, 1, 5, 7), claim(Basis::Open, 3, 4, 8)];
            assert_eq!(found(&claims, &cut), expected, "{basis:?}");
        }
        let mut of_another_node = [claim(Basis::Open, 1, 5, 7), claim(Basis::Open, 3, 4, 8)];
        of_another_node[0].node = 1;
        assert_eq!(found(&of_another_node, &cut), [Violation::Overlap]);
    }

    #[test]
    fn grant_told_behind_a_newer_grant_is_found() {
        let mut claims = [claim(Basis::Open, 5, 6, 9), claim(Basis::Open, 7, 8, 7)];
        claims[1].asked = SECOND;
        assert_eq!(found(&claims, &Disturbances::default()), [Violation::ToldLate]);
        // A client that asks, and does not believe it any more.
        claims[1].until = claims[1].told;
        assert_eq!(found(&claims, &Disturbances::default()), []);
    }

    #[test]
    fn token_that_does_not_grow_is_found() {
        let claims = [claim(Basis::Open, 1, 2, 7), claim(Basis::Open, 3, 4, 7)];
        assert_eq!(found(&claims, &Disturbances::default()), [Violation::Token]);
    }

    #[test]
    fn lease_ends_early_only_by_a_fast_clock() {
        let claims = [claim(Basis::Lease, 1, 101, 7), claim(Basis::Open, 100, 102, 8)];
        assert_eq!(found(&claims, &Disturbances::default()), [Violation::Overlap]);
        let mut fast = Disturbances::default();
        fast.clock_is_fast();
        assert_eq!(found(&claims, &fast), []);
    }
}
