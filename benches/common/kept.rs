//! The counts that are kept in a file, and whether new ones may stand beside them. Pure.
#![allow(unreachable_pub, reason = "a part of a bench, and of the test of it")]

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// What a count may grow by, in percent.
pub const MAY_GROW: u64 = 5;

/// Shapes that cost nothing more than others: with a store that has no leases, and without one.
const EQUAL: [(&str, &str); 2] =
    [("line-1-deep-store", "line-1-deep"), ("line-32-deep-store", "line-32-deep")];

/// What they may differ by nevertheless, as two runs of one program do, in tenths of a percent.
const NOISE: u64 = 5;

/// Instructions for a pair, by the name of the shape.
pub type Counts = BTreeMap<String, u64>;

/// What decides the counts beside the code.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Compiler {
    pub compiler: String,
    pub target: String,
}

impl Compiler {
    /// Of what `rustc --version --verbose` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let target = text.lines().find_map(|line| line.strip_prefix("host: "))?;
        Some(Self { compiler: text.lines().next()?.to_owned(), target: target.to_owned() })
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.compiler, self.target)
    }
}

/// The file.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Kept {
    #[serde(flatten)]
    pub by: Compiler,
    #[serde(rename = "instructions-a-pair")]
    pub counts: Counts,
}

impl Kept {
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

/// As the file has it.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions that the server executes in user mode for a pair: a lock is taken and freed."
        )?;
        writeln!(
            f,
            "# `cargo bench --bench instructions -- --keep` writes this file. benches/README.md explains it."
        )?;
        writeln!(f, "compiler = \"{}\"", self.by.compiler)?;
        writeln!(f, "target = \"{}\"", self.by.target)?;
        writeln!(f, "\n[instructions-a-pair]")?;
        self.counts.iter().try_for_each(|(shape, count)| writeln!(f, "{shape} = {count}"))
    }
}

/// What is to be said of new counts.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The file is out of date, to the good.
    Shrunk(Vec<String>),
    Fail(Vec<String>),
}

impl Verdict {
    pub fn of(kept: &Counts, measured: &Counts) -> Self {
        let failures = grown(kept, measured).chain(others(kept, measured)).chain(unequal(measured));
        let failures: Vec<_> = failures.collect();
        let shrunk: Vec<_> = shrunk(kept, measured).collect();
        match (failures.is_empty(), shrunk.is_empty()) {
            (false, _) => Self::Fail(failures),
            (true, false) => Self::Shrunk(shrunk),
            (true, true) => Self::Pass,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => write!(f, "all counts are within {MAY_GROW} % of benches/instructions.toml"),
            Self::Shrunk(what) => write!(f, "{}\n{KEEP_LESS}", what.join("\n")),
            Self::Fail(what) => write!(f, "{}\n{WHAT_TO_DO}", what.join("\n")),
        }
    }
}

const KEEP_LESS: &str = "\
That is good. Keep it: run `cargo bench --bench instructions -- --keep`, and commit benches/instructions.toml
with the change.";

const WHAT_TO_DO: &str = "\
Make it cheaper. Or, if it is worth what it costs, run `cargo bench --bench instructions -- --keep`, and commit
benches/instructions.toml together with the change; the commit's message gives the reason.";

/// The change in tenths of a percent, rounded towards none.
pub fn change(kept: u64, measured: u64) -> String {
    let (sign, difference) = if measured < kept { ('-', kept - measured) } else { ('+', measured - kept) };
    let tenths = difference * 1_000 / kept.max(1);
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

fn grown(kept: &Counts, measured: &Counts) -> impl Iterator<Item = String> {
    both(kept, measured).filter(|(_, kept, now)| now * 100 > kept * (100 + MAY_GROW)).map(tell)
}

fn shrunk(kept: &Counts, measured: &Counts) -> impl Iterator<Item = String> {
    both(kept, measured).filter(|(_, kept, now)| now * 100 < kept * (100 - MAY_GROW)).map(tell)
}

fn both(kept: &Counts, measured: &Counts) -> impl Iterator<Item = (String, u64, u64)> {
    kept.iter().filter_map(|(shape, kept)| Some((shape.clone(), *kept, *measured.get(shape)?)))
}

fn tell((shape, kept, now): (String, u64, u64)) -> String {
    let change = change(kept, now);
    format!("{shape}: {now} instructions a pair, {change} from the {kept} that are kept")
}

/// Shapes that cost more than those that they are to cost no more than.
fn unequal(measured: &Counts) -> impl Iterator<Item = String> {
    EQUAL.into_iter().filter_map(|(shape, other)| {
        let (count, wanted) = (*measured.get(shape)?, *measured.get(other)?);
        let change = change(wanted, count);
        let is_more = count * 1_000 > wanted * (1_000 + NOISE);
        is_more
            .then(|| format!("{shape}: {count} instructions a pair, {change} from the {wanted} of {other}"))
    })
}

/// Shapes of which only one has a count.
fn others(kept: &Counts, measured: &Counts) -> impl Iterator<Item = String> {
    let new = measured.keys().filter(|shape| !kept.contains_key(*shape));
    let gone = kept.keys().filter(|shape| !measured.contains_key(*shape));
    new.map(|shape| format!("{shape}: no count is kept"))
        .chain(gone.map(|shape| format!("{shape}: a count is kept, but it is not measured")))
}
