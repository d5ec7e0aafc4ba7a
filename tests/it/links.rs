//! Links between the documents lead to files and headings that exist.

use std::path::{Component, Path, PathBuf};

use crate::markdown::{files, prose, read, root};

/// The links of a document that stay within the project, with the number of their line.
fn links(text: &str) -> Vec<(usize, String)> {
    let text = prose(text).join("\n");
    let starts = text.match_indices("](").map(|(at, _)| at + 2);
    let links = starts.filter_map(|at| {
        let link = text[at..].split([')', ' ', '\n']).next()?;
        let number = text[..at].matches('\n').count() + 1;
        (!link.contains("://") && !link.starts_with("mailto:")).then(|| (number, link.to_owned()))
    });
    links.collect()
}

/// What leads to a heading, made as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// A path without `..`, which a file system would follow through links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// Why a link of a document leads nowhere.
fn broken(document: &str, link: &str) -> Option<&'static str> {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(document).parent().unwrap();
    let target = if path.is_empty() { PathBuf::from(document) } else { plain(&folder.join(path)) };
    if !root().join(&target).exists() {
        return Some("no such file");
    }
    let has_heading = || anchors(&read(&target.display().to_string())).iter().any(|known| known == heading);
    (!heading.is_empty() && !has_heading()).then_some("no such heading")
}

#[test]
fn relative_links_and_anchors_resolve() {
    let documents = files("", &[".md"]);
    assert!(documents.len() > 20, "{documents:?}");
    let mut wrong = Vec::new();
    for document in documents {
        let links = links(&read(&document));
        let why = |(number, link): &(usize, String)| {
            Some(format!("{document}:{number}: {link}: {}", broken(&document, link)?))
        };
        wrong.extend(links.iter().filter_map(why));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn headings_make_anchors_as_on_github() {
    assert_eq!(anchor("8. Leases, and HTTP"), "8-leases-and-http");
    assert_eq!(anchor("HTTP: `/api`"), "http-api");
    assert_eq!(anchor("GET_LOCK name timeout"), "get_lock-name-timeout");
}
