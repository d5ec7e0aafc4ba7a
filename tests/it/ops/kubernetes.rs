//! The manifests for Kubernetes: Kubernetes takes them, and what they say is what the program has.

use std::process::Command;

use getlockd::config::Cli;
use serde_json::{Value, json};

use super::{assert_is_variable, check::users, file, said};
use crate::common::{
    TestServer,
    authority::{Authority, text},
    etcd::Etcd,
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

/// One server, and a cluster of them.
const ONE: &str = "kubernetes.yaml";
const CLUSTER: &str = "kubernetes-cluster.yaml";

/// The manifest's documents, by their kind. None if there is nothing that reads YAML.
fn manifest(name: &str) -> Option<impl Fn(&str) -> Value> {
    let output = Command::new(python()).args(["-c", AS_JSON]).arg(file(name)).output().ok();
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

/// By the schemas of its latest version, which allow no word that Kubernetes does not know.
#[test]
fn kubernetes_takes_the_manifests() {
    for name in [ONE, CLUSTER] {
        let mut validate = Command::new(python());
        let Ok(output) = validate.args(["-m", "kubernetes_validate", "--strict"]).arg(file(name)).output()
        else {
            return skip_missing("Python");
        };
        if said(&output).contains("No module named kubernetes_validate") {
            return skip_missing("kubernetes-validate");
        }
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn manifests_run_unprivileged_containers() {
    for name in [ONE, CLUSTER] {
        let Some(manifest) = manifest(name) else { return };
        let pod = &manifest("Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532, "as the Dockerfile has it");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let rights = &pod["containers"][0]["securityContext"];
        assert_eq!(rights["readOnlyRootFilesystem"], true);
        assert_eq!(rights["allowPrivilegeEscalation"], false);
        assert_eq!(rights["capabilities"]["drop"], json!(["ALL"]));
    }
}

#[test]
fn server_alone_has_a_single_replica() {
    let Some(manifest) = manifest(ONE) else { return };
    let spec = &manifest("Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&1.into(), &"Recreate".into()));
}

#[test]
fn cluster_keeps_two_nodes_through_rollout_and_drain() {
    let Some(manifest) = manifest(CLUSTER) else { return };
    let spec = &manifest("Deployment")["spec"];
    assert_eq!(spec["replicas"], 3);
    assert_eq!(spec["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    let budget = manifest("PodDisruptionBudget");
    assert_eq!(budget["spec"]["minAvailable"], 2);
    let labels = &spec["template"]["metadata"]["labels"];
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    for spread in spec["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap() {
        assert_eq!(&spread["labelSelector"]["matchLabels"], labels);
    }
}

#[test]
fn ports_and_labels_match() {
    for name in [ONE, CLUSTER] {
        let Some(manifest) = manifest(name) else { return };
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
}

#[tokio::test]
async fn probes_use_served_paths() {
    let Some(manifest) = manifest(ONE) else { return };
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

/// Not the leader's: a node that follows would answer for it.
#[test]
fn probes_of_a_node_ask_its_own_status_port() {
    let Some(manifest) = manifest(CLUSTER) else { return };
    let container = &manifest("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let status = Cli::read(["getlockd"]).unwrap().config.cluster.status_addr().unwrap();
    let ports = container["ports"].as_array().unwrap();
    assert_eq!(ports.last().unwrap(), &json!({ "name": "status", "containerPort": status.port() }));
    for (probe, path) in
        [("startupProbe", "/healthz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "status" }));
    }
}

#[test]
fn manifest_settings_are_valid_and_allow_a_drain() {
    let Some(manifest) = manifest(ONE) else { return };
    assert_settings(&manifest("Deployment"), &Authority::new(), "");
}

#[test]
fn cluster_settings_are_valid_and_allow_a_drain() {
    let Some(manifest) = manifest(CLUSTER) else { return };
    let authority = Authority::new();
    let (files, ca) = (authority.sign("etcd"), authority.ca());
    let flags = ["--cert-file", text(&files.cert), "--key-file", text(&files.key)];
    let clients = ["--client-cert-auth", "--trusted-ca-file", text(&ca)];
    let Some(etcd) = Etcd::with(3, &[&flags[..], &clients].concat()) else { return };
    let url = etcd.url("getlockd").replace("etcd://", "etcds://");
    assert_settings(&manifest("Deployment"), &authority, &url);
}

/// `getlockd check` finds nothing wrong, with the environment of the image and of the manifest, and files where it says.
fn assert_settings(deployment: &Value, authority: &Authority, cluster: &str) {
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let (files, users) = (authority.sign("tls"), users(authority.folder.path()));
    let (ca, store) = (authority.ca(), authority.folder.path().join("leases"));
    let mut check = Command::new(PROGRAM);
    // A folder for tests may be on any file system; the claim is a disk.
    check.env("GETLOCKD_STORE_ANYWAY", "true");
    let image = include_str!("../../../Dockerfile").lines().filter_map(|line| line.strip_prefix("ENV "));
    check.arg("check").envs(image.filter_map(|variable| variable.split_once('=')));
    let mut drain = 0;
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        if name == "POD_IP" {
            continue;
        }
        assert_is_variable(name);
        // What stands in the pod itself.
        let value =
            variable["value"].as_str().unwrap_or("getlockd-7d9f-x2x4z").replace("$(POD_IP)", "10.0.0.1");
        if name == "GETLOCKD_DRAIN" {
            drain = value.trim_end_matches('s').parse().unwrap();
        }
        let here = match value.rsplit('/').next().unwrap() {
            "users.toml" => &*users,
            "tls.crt" => text(&files.cert),
            "tls.key" => text(&files.key),
            "ca.crt" => text(&ca),
            "leases" => text(&store),
            _ if name == "GETLOCKD_CLUSTER" => cluster,
            _ => &value,
        };
        let is_mounted = each(&container["volumeMounts"], "mountPath")
            .any(|path| value.starts_with(&format!("{}/", path.as_str().unwrap())));
        assert!(!value.starts_with('/') || is_mounted, "{value} is nowhere");
        check.env(name, here);
    }
    let output = check.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert!(said(&output).starts_with("line: 0.0.0.0:3305\n"), "{}", said(&output));
    // And for the hand-over of a leader.
    let more = if cluster.is_empty() { 10 } else { 20 };
    assert!(drain > 0 && pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain + more);
    let (volumes, mounts) = (&pod["volumes"], &container["volumeMounts"]);
    assert!(each(mounts, "name").eq(each(volumes, "name")));
}
