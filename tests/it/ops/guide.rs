//! What the pages for operators name is there.

use super::assert_is_variable;
use crate::{
    common::http,
    markdown::{files, guides, read},
    metrics::with_store,
    status_port::metrics_of_a_node,
};

/// The words of the page that start so, each to its end as a name.
fn names<'a>(page: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    page.match_indices(start).map(move |(at, _)| page[at..].split(ends).next().unwrap())
}

#[test]
fn variables_exist() {
    let mut known = 0;
    for (_, page) in guides() {
        names(&page, "GETLOCKD_").for_each(assert_is_variable);
        known += names(&page, "GETLOCKD_").count();
    }
    assert!(known > 5, "{known}");
}

#[test]
fn every_file_for_operators_is_listed() {
    let page = read("ops/README.md");
    for path in files("ops", &[""]).iter().filter(|path| !path.ends_with("README.md")) {
        let name = path.strip_prefix("ops/").unwrap();
        assert!(page.contains(&format!("]({name})")), "ops/README.md does not list {name}");
    }
}

#[test]
fn every_alert_of_a_cluster_leads_to_its_part() {
    let (alerts, page) = (read("ops/alerts.yml"), read("docs/cluster.md"));
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let parts: Vec<_> = headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let rules = alerts.split_once("name: getlockd cluster").unwrap().1.split("- alert: ").skip(1);
    for rule in rules {
        let anchor = rule.split_once("docs/cluster.md#").expect(rule).1;
        let anchor = anchor.split(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap();
        assert!(parts.iter().any(|part| part == anchor), "{anchor}");
    }
}

#[tokio::test]
async fn metrics_exist() {
    let (_folder, server) = with_store();
    let (_, metrics) = http::get(server.http, "/metrics").await;
    let metrics = metrics + &metrics_of_a_node().await;
    let page = read("docs/operations.md");
    assert!(names(&page, "getlockd_").count() > 10);
    for name in names(&page, "getlockd_") {
        assert!(metrics.contains(&format!("\n{name}")), "{name}");
    }
}
