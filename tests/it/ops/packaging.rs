//! What people install. `packaging/check` builds and installs it; here is what can be told without that.

use std::{fs, path::Path};

use super::assert_is_variable;

const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const INSTALL: &str = include_str!("../../../docs/install.md");
const RELEASE: &str = include_str!("../../../.github/workflows/release.yml");
const CI: &str = include_str!("../../../.ci/run");
const RULES: &str = include_str!("../../../packaging/debian/rules");
const ENV: &str = include_str!("../../../packaging/debian/env");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn scripts_that_are_named_exist() {
    for text in [DOCKERFILE, INSTALL, RELEASE, CI] {
        for (at, found) in text.match_indices("packaging/") {
            let name: String =
                text[at + found.len()..].chars().take_while(char::is_ascii_lowercase).collect();
            assert!(root().join("packaging").join(&name).exists(), "packaging/{name}");
        }
    }
}

#[test]
fn arguments_of_dockerfile_are_documented_with_defaults() {
    for argument in DOCKERFILE.lines().filter_map(|line| line.strip_prefix("ARG ")) {
        let row = match argument.split_once('=') {
            Some((name, default)) => format!("| `{name}` | `{default}`"),
            None => format!("| `{argument}` | empty"),
        };
        assert!(INSTALL.contains(&row), "docs/install.md has no row {row}");
    }
}

#[test]
fn debian_package_enables_every_unit_of_ops() {
    for file in fs::read_dir(root().join("ops")).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        if let Some(unit) = file.strip_suffix(".service").or(file.strip_suffix(".socket")) {
            assert!(RULES.contains(&format!("--name={unit} ")), "{file}");
        }
    }
}

#[test]
fn settings_that_debian_package_offers_are_variables() {
    let settings: Vec<_> =
        ENV.lines().filter_map(|line| line.trim_start_matches('#').split_once('=')).collect();
    for (name, _) in &settings {
        assert_is_variable(name);
    }
    assert!(settings.len() > 3, "{settings:?}");
}

/// Where systemd makes a folder, a volume of the image is, and the package cleans up: one place.
#[test]
fn lease_store_has_a_folder_wherever_it_is_set() {
    let service = fs::read_to_string(root().join("ops/getlockd.service")).unwrap();
    let postrm = fs::read_to_string(root().join("packaging/debian/getlockd.postrm")).unwrap();
    assert!(service.contains("\nStateDirectory=getlockd\nStateDirectoryMode=0700\n"));
    assert!(ENV.contains("\nGETLOCKD_STORE=/var/lib/getlockd/leases\n"));
    assert!(DOCKERFILE.contains(" && mkdir -p -m 0700 /out/state/getlockd\n"));
    assert!(DOCKERFILE.contains("--chown=65532:65532 /out/state/ /var/lib/\n"));
    assert!(postrm.contains(" /var/lib/getlockd /var/lib/private/getlockd\n"));
}
