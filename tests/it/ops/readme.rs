//! What `ops/README.md` names is there.

use crate::common::{TestServer, http};
use std::path::Path;

use super::{assert_is_variable, read};

/// The words of the page that start so, each to its end as a name.
fn names<'a>(page: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    page.match_indices(start).map(move |(at, _)| page[at..].split(ends).next().unwrap())
}

#[test]
fn variables_and_links_exist() {
    let page = read("README.md");
    assert!(names(&page, "GETLOCKD_").count() > 3);
    names(&page, "GETLOCKD_").for_each(assert_is_variable);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops");
    let links: Vec<_> = page.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()).collect();
    assert!(links.len() > 3);
    for link in links {
        assert!(folder.join(link).exists(), "{link}");
    }
}

#[tokio::test]
async fn metrics_exist() {
    let server = TestServer::start();
    let (_, metrics) = http::get(server.http, "/metrics").await;
    let page = read("README.md");
    assert!(names(&page, "getlockd_").count() > 10);
    for name in names(&page, "getlockd_") {
        assert!(metrics.contains(&format!("\n{name}")), "{name}");
    }
}
