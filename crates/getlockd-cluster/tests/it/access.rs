//! TLS, users and their rights.

use std::fs;

use getlockd_cluster::{
    engine::{Engine as _, EngineError, Written},
    etcd::{Etcd as Engine, EtcdConfig, EtcdLogin},
};

use crate::{
    common::{
        authority::{Authority, text},
        etcd::Etcd,
    },
    node::{Watch, beat, beat_with, config, done, take_now},
};

fn connected(config: &EtcdConfig) -> Engine {
    Engine::new(config).unwrap()
}

#[tokio::test]
async fn etcd_is_reached_by_tls_with_a_certificate() {
    let ours = Authority::new();
    let (server, client) = (ours.sign("etcd"), ours.sign("getlockd"));
    let ca = ours.ca();
    let flags = ["--cert-file", text(&server.cert), "--key-file", text(&server.key)];
    let clients = ["--client-cert-auth", "--trusted-ca-file", text(&ca)];
    let Some(etcd) = Etcd::with(1, &[&flags[..], &clients].concat()) else { return };
    let url = etcd.url("getlockd").replace("etcd://", "etcds://");
    let pem = |path: &std::path::Path| fs::read(path).unwrap();
    let good = EtcdConfig {
        ca: Some(pem(&ca)),
        identity: Some((pem(&client.cert), pem(&client.key))),
        ..config(&url)
    };
    take_now(&connected(&good), "a").await;
    assert_eq!(Watch::start(connected(&good)).next().await, "seat a");

    let of_others = EtcdConfig { ca: Some(pem(&Authority::new().ca())), ..good.clone() };
    let of_the_machine = EtcdConfig { ca: None, ..good.clone() };
    for distrusting in [of_others, of_the_machine] {
        let denied = connected(&distrusting).look().await;
        assert!(matches!(denied, Err(EngineError::Denied(_))), "{denied:?}");
    }
    let without_certificate = EtcdConfig { identity: None, ..good.clone() };
    assert!(connected(&without_certificate).look().await.is_err());
    let plain = config(&etcd.url("getlockd"));
    assert!(matches!(connected(&plain).look().await, Err(EngineError::Unavailable(_))));
    assert!(Engine::new(&EtcdConfig { ca: Some(b"no PEM".into()), ..good.clone() }).is_err());
    let no_key = Some((pem(&client.cert), b"no PEM".into()));
    assert!(Engine::new(&EtcdConfig { identity: no_key, ..good }).is_err());
}

/// An etcd with a user `locks`, who may read and write under the prefix.
fn with_users() -> Option<Etcd> {
    let etcd = Etcd::start(1)?;
    for args in [
        &["user", "add", "root:root"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "locks:secret"],
        &["role", "add", "locks"],
        &["role", "grant-permission", "locks", "readwrite", "--prefix", "/getlockd/"],
        &["user", "grant-role", "locks", "locks"],
        &["auth", "enable"],
    ] {
        etcd.ctl(args);
    }
    Some(etcd)
}

fn login(user: &str, password: &str) -> EtcdLogin {
    EtcdLogin { user: user.to_owned(), password: password.to_owned() }
}

#[tokio::test]
async fn user_with_rights_on_the_prefix_leads() {
    let Some(etcd) = with_users() else { return };
    let good = EtcdConfig { login: Some(login("locks", "secret")), ..config(&etcd.url("getlockd")) };
    let node = connected(&good);
    let term = take_now(&node, "a").await;
    let mut watch = Watch::started(connected(&good)).await;
    done(node.beat(beat_with(term, "a", 2, &[("lease/1", Some("x"))])).await);
    assert_eq!(watch.next().await, "beat 2");
    assert_eq!(node.leases(term + 1).await.unwrap().records.len(), 1);
    let checked = node.check(std::time::Duration::from_secs(1)).await;
    assert_eq!(checked.errors, [""; 0]);
}

#[tokio::test]
async fn beat_after_the_login_is_over_logs_in_again_at_once() {
    let Some(etcd) = with_users() else { return };
    let node =
        connected(&EtcdConfig { login: Some(login("locks", "secret")), ..config(&etcd.url("getlockd")) });
    let term = take_now(&node, "a").await;
    // Each change of a user or a role ends all logins.
    etcd.ctl(&["--user", "root:root", "user", "add", "other:secret"]);
    done(node.beat(beat(term, "a", 2)).await);
    etcd.ctl(&["--user", "root:root", "user", "delete", "other"]);
    assert!(node.leases(0).await.is_ok());
}

#[tokio::test]
async fn user_without_rights_is_told_what_is_needed() {
    let Some(etcd) = with_users() else { return };
    let url = etcd.url("getlockd");
    let elsewhere = etcd.url("other");
    for (config, advice) in [
        (config(&url), "--cluster-user"),
        (EtcdConfig { login: Some(login("locks", "wrong")), ..config(&url) }, "invalid user ID or password"),
        (EtcdConfig { login: Some(login("locks", "secret")), ..config(&elsewhere) }, "under the prefix"),
    ] {
        match connected(&config).look().await {
            Err(EngineError::Denied(why)) => assert!(why.contains(advice), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let node = connected(&EtcdConfig { login: Some(login("locks", "secret")), ..config(&elsewhere) });
    let refused = node.beat(beat(1, "a", 2)).await;
    assert!(matches!(refused, Written::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn login_at_an_etcd_without_users_is_no_error() {
    let Some(etcd) = Etcd::start(1) else { return };
    let node =
        connected(&EtcdConfig { login: Some(login("locks", "secret")), ..config(&etcd.url("getlockd")) });
    take_now(&node, "a").await;
}
