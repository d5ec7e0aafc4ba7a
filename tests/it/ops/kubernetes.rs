//! The manifest for Kubernetes: what it says is what the program has. Whether Kubernetes takes it is not shown
//! here: its schemas are nowhere to be had.

use std::process::Command;

use getlockd::config::Cli;
use serde_json::Value;

use super::{assert_is_variable, check::users, file, said};
use crate::common::{
    TestServer,
    authority::{Authority, text},
    http::get,
    program::PROGRAM,
    python,
    skip::{NOT_INSTALLED, skip_missing},
};

const AS_JSON: &str = "
import json, sys
try:
    import yaml
except ImportError:
    sys.exit(77)
print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))
";

/// The manifest's documents, by their kind. None if there is nothing that reads YAML.
fn manifest() -> Option<impl Fn(&str) -> Value> {
    let output = Command::new(python()).args(["-c", AS_JSON]).arg(file("kubernetes.yaml")).output().ok();
    let Some(output) = output.filter(|output| output.status.code() != Some(NOT_INSTALLED)) else {
        skip_missing("PyYAML");
        return None;
    };
    assert!(output.status.success(), "{}", said(&output));
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    Some(move |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap().clone())
}

/// The values of a list's entries by one of their keys.
fn each<'a>(list: &'a Value, key: &'a str) -> impl Iterator<Item = &'a Value> {
    list.as_array().unwrap().iter().map(move |entry| &entry[key])
}

#[test]
fn manifest_runs_a_single_unprivileged_replica() {
    let Some(manifest) = manifest() else { return };
    let deployment = manifest("Deployment");
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532, "as the Dockerfile has it");
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let rights = &pod["containers"][0]["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]));
}

#[test]
fn ports_and_labels_match() {
    let Some(manifest) = manifest() else { return };
    let (deployment, service) = (manifest("Deployment"), manifest("Service"));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels, &service["spec"]["selector"]);
    assert_eq!(labels, &deployment["spec"]["selector"]["matchLabels"]);
    let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
    let config = Cli::read(["getlockd"]).unwrap().config;
    for (at, (wire, listen)) in config.wires().into_iter().enumerate() {
        assert_eq!(ports[at]["name"], wire.as_str());
        assert!(listen.to_string().ends_with(&format!(":{}", ports[at]["containerPort"])));
        let served = &service["spec"]["ports"][at];
        assert_eq!(
            (&served["targetPort"], &served["port"]),
            (&ports[at]["name"], &ports[at]["containerPort"])
        );
    }
}

#[tokio::test]
async fn probes_use_served_paths() {
    let Some(manifest) = manifest() else { return };
    let deployment = manifest("Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let server = TestServer::start();
    for probe in ["startupProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(get(server.http, asked["path"].as_str().unwrap()).await.0, 200);
        assert_eq!((&asked["port"], &asked["scheme"]), (&"http".into(), &"HTTPS".into()));
    }
    let words: Vec<_> = each_word(&container["livenessProbe"]["exec"]["command"]);
    let dockerfile = include_str!("../../../Dockerfile");
    assert!(dockerfile.contains(&format!("CMD [\"{}\"]", words.join("\", \""))), "{words:?}");
    Cli::read(words).unwrap();
}

fn each_word(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// With the environment of the image and of the manifest, and files where it says.
#[test]
fn manifest_settings_are_valid_and_allow_a_drain() {
    let Some(manifest) = manifest() else { return };
    let deployment = manifest("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let authority = Authority::new();
    let (files, users) = (authority.sign("tls"), users(authority.folder.path()));
    let mut check = Command::new(PROGRAM);
    // A folder for tests may be on any file system; the claim is a disk.
    check.env("GETLOCKD_STORE_ANYWAY", "true");
    let store = authority.folder.path().join("leases");
    let image = include_str!("../../../Dockerfile").lines().filter_map(|line| line.strip_prefix("ENV "));
    check.arg("check").envs(image.filter_map(|variable| variable.split_once('=')));
    let mut drain = 0;
    for variable in container["env"].as_array().unwrap() {
        let [name, value] = ["name", "value"].map(|key| variable[key].as_str().unwrap());
        assert_is_variable(name);
        if name == "GETLOCKD_DRAIN" {
            drain = value.trim_end_matches('s').parse().unwrap();
        }
        let here = match value.rsplit('/').next().unwrap() {
            "users.toml" => &*users,
            "tls.crt" => text(&files.cert),
            "tls.key" => text(&files.key),
            "leases" => text(&store),
            _ => value,
        };
        let is_mounted = each(&container["volumeMounts"], "mountPath")
            .any(|path| value.starts_with(&format!("{}/", path.as_str().unwrap())));
        assert!(here == value || is_mounted, "{value} is nowhere");
        check.env(name, here);
    }
    let output = check.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert!(said(&output).starts_with("line: 0.0.0.0:3305\n"), "{}", said(&output));
    assert!(drain > 0 && pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain + 10);
    let (volumes, mounts) = (&pod["volumes"], &container["volumeMounts"]);
    assert!(each(mounts, "name").eq(each(volumes, "name")));
}
