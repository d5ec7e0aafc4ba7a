//! What was done to nodes and links, and when: what a client cannot have heard.

/// In nanoseconds of one clock.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    until: u64,
}

#[derive(Debug, Default)]
pub(super) struct Disturbances {
    /// The link between the clients and a node was cut, or the node stood still.
    cut_off: Vec<(usize, Span)>,
    /// A node stood still or was killed: its kernel may send on what it had written.
    stood_still: Vec<Span>,
    /// The whole machine did.
    stalls: Vec<Span>,
    has_fast_clock: bool,
}

/// TCP sends again after pauses that double: so much longer than the cut lasted.
const AGAIN: u64 = 3;

impl Span {
    fn meets(self, from: u64, until: u64) -> bool {
        self.from <= until && self.until >= from
    }

    /// With the time in which what was lost is sent again.
    fn with_resends(from: u64, until: u64) -> Self {
        Self { from, until: until + AGAIN * (until - from).max(1_000_000_000) }
    }
}

impl Disturbances {
    pub(super) fn cut_client(&mut self, node: usize, from: u64, until: u64) {
        self.cut_off.push((node, Span::with_resends(from, until)));
    }

    pub(super) fn freeze(&mut self, node: usize, from: u64, until: u64) {
        self.cut_client(node, from, until);
        self.stood_still.push(Span::with_resends(from, until));
    }

    /// Its clients are told by the kernel.
    pub(super) fn kill(&mut self, from: u64, until: u64) {
        self.stood_still.push(Span::with_resends(from, until));
    }

    pub(super) fn stall(&mut self, from: u64, until: u64) {
        self.stalls.push(Span { from, until });
    }

    pub(super) fn clock_is_fast(&mut self) {
        self.has_fast_clock = true;
    }

    /// Whether a client of this node may not have heard something in this time.
    pub(super) fn cut_off(&self, node: usize, from: u64, until: u64) -> bool {
        self.cut_off.iter().any(|(of, span)| *of == node && span.meets(from, until))
    }

    pub(super) fn stood_still(&self, from: u64, until: u64) -> bool {
        self.stood_still.iter().any(|span| span.meets(from, until))
    }

    /// How long the machine stood still in this time.
    pub(super) fn stalled(&self, from: u64, until: u64) -> u64 {
        self.stalls.iter().filter(|span| span.meets(from, until)).map(|span| span.until - span.from).sum()
    }

    /// So much may a lease of this length end too early.
    pub(super) fn fast_clock(&self, lease: u64) -> u64 {
        if self.has_fast_clock { lease / 50 } else { 0 }
    }
}
