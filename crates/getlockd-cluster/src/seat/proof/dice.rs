//! Where a schedule takes its choices from: a seed, or a tree of which every path is walked.

use std::time::Duration;

/// A source of choices.
#[derive(Debug)]
pub struct Dice {
    state: u64,
    tree: Option<Tree>,
}

/// A path through all choices to a depth.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// What was chosen at each fork, and of how many.
    path: Vec<(usize, usize)>,
    at: usize,
    depth: usize,
}

/// The choices, as [`Tree::of`] reads them.
impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path: Vec<_> = self.path.iter().map(|(choice, _)| choice.to_string()).collect();
        f.write_str(&path.join("."))
    }
}

impl Tree {
    /// A path that is known.
    pub fn of(path: &str) -> Self {
        let path: Vec<_> = path.split('.').filter_map(|choice| Some((choice.parse().ok()?, 0))).collect();
        Self { depth: path.len(), path, at: 0 }
    }

    pub fn new(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    /// The next path; none after the last one.
    pub fn next(mut self) -> Option<Self> {
        self.at = 0;
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return Some(self);
            }
        }
        None
    }

    fn pick(&mut self, of: usize) -> usize {
        if self.at == self.depth {
            return 0;
        }
        if self.at == self.path.len() {
            self.path.push((0, of));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }
}

impl Dice {
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d, tree: None }
    }

    pub fn walking(tree: Tree) -> Self {
        Self { tree: Some(tree), ..Self::seeded(0) }
    }

    /// The path that was walked, to go on from.
    pub fn into_tree(self) -> Option<Tree> {
        self.tree
    }

    pub fn walks(&self) -> bool {
        self.tree.is_some()
    }

    /// A fork of the tree.
    pub fn fork(&mut self, of: usize) -> usize {
        self.tree.as_mut().map_or(0, |tree| tree.pick(of))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1_000) < per_mille
    }

    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX).max(1);
        least + Duration::from_nanos(self.next() % span)
    }

    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.between(Duration::from_millis(least), Duration::from_millis(most))
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
