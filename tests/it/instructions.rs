//! The guard of `cargo bench --bench instructions -- --check`: when it fires, and what it says.

#[path = "../../benches/common/kept.rs"]
mod kept;

use kept::{Compiler, Counts, Kept, Verdict, change};

const RUSTC: &str = "\
rustc 1.91.0 (f8297e351 2025-10-28)
binary: rustc
host: x86_64-unknown-linux-gnu
release: 1.91.0
";

fn counts(all: &[(&str, u64)]) -> Counts {
    all.iter().map(|(shape, count)| ((*shape).to_owned(), *count)).collect()
}

/// Of a line and a query of which 1,000 and 20,000 are kept.
fn verdict(line: u64, query: u64) -> Verdict {
    Verdict::of(&counts(&[("line", 1_000), ("query", 20_000)]), &counts(&[("line", line), ("query", query)]))
}

#[test]
fn growth_within_five_percent_passes() {
    for (line, query) in [(1_000, 20_000), (1_050, 21_000), (950, 19_000)] {
        assert_eq!(verdict(line, query), Verdict::Pass, "{line} {query}");
    }
}

#[test]
fn growth_beyond_five_percent_fails() {
    let line = "line: 1051 instructions a pair, +5.1 % from the 1000 that are kept";
    let query = "query: 40000 instructions a pair, +100.0 % from the 20000 that are kept";
    let fail = |what: &[&str]| Verdict::Fail(what.iter().map(|what| (*what).to_owned()).collect());
    assert_eq!(verdict(1_051, 20_000), fail(&[line]));
    assert_eq!(verdict(1_000, 40_000), fail(&[query]));
    assert_eq!(verdict(1_051, 40_000), fail(&[line, query]));
    assert_eq!(verdict(1_051, 10_000), fail(&[line]), "what is saved elsewhere does not pay for it");
}

#[test]
fn failure_says_what_to_do() {
    let said = verdict(1_051, 20_000).to_string();
    assert!(
        said.starts_with("line: 1051 instructions a pair, +5.1 % from the 1000 that are kept\n"),
        "{said}"
    );
    for advice in ["Make it cheaper.", "-- --keep", "benches/instructions.toml", "reason"] {
        assert!(said.contains(advice), "{advice} in {said}");
    }
}

#[test]
fn shrinkage_passes_and_asks_to_be_kept() {
    let shrunk = verdict(949, 20_000);
    let Verdict::Shrunk(what) = &shrunk else { panic!("{shrunk:?}") };
    assert_eq!(what, &["line: 949 instructions a pair, -5.1 % from the 1000 that are kept"]);
    assert!(shrunk.to_string().contains("-- --keep"), "{shrunk}");
}

#[test]
fn unmatched_shape_or_count_fails() {
    let (kept, measured) = (counts(&[("line", 1), ("old", 1)]), counts(&[("line", 1), ("new", 1)]));
    let fail = ["new: no count is kept", "old: a count is kept, but it is not measured"];
    assert_eq!(Verdict::of(&kept, &measured), Verdict::Fail(fail.map(str::to_owned).to_vec()));
}

#[test]
fn store_that_costs_a_pair_more_fails() {
    let of = |store| {
        let all = counts(&[("line-32-deep", 4_000), ("line-32-deep-store", store)]);
        Verdict::of(&all, &all)
    };
    assert_eq!(of(4_020), Verdict::Pass, "as two runs of one program differ");
    let more = "line-32-deep-store: 4021 instructions a pair, +0.5 % from the 4000 of line-32-deep";
    assert_eq!(of(4_021), Verdict::Fail(vec![more.to_owned()]));
}

#[test]
fn change_is_told_in_tenths_of_a_percent() {
    for (now, told) in [(1_000, "+0.0 %"), (1_004, "+0.4 %"), (996, "-0.4 %"), (1_234, "+23.4 %")] {
        assert_eq!(change(1_000, now), told);
    }
}

#[test]
fn written_counts_are_read_back() {
    let by = Compiler::parse(RUSTC).unwrap();
    assert_eq!(by.to_string(), "rustc 1.91.0 (f8297e351 2025-10-28) for x86_64-unknown-linux-gnu");
    let kept = Kept { by, counts: counts(&[("line", 1_000), ("query", 20_000)]) };
    assert_eq!(Kept::parse(&kept.to_string()).unwrap(), kept);
}

#[test]
fn file_is_in_the_written_form() {
    let file = include_str!("../../benches/instructions.toml");
    assert_eq!(Kept::parse(file).unwrap().to_string(), file);
}
