//! The committed code of the gRPC interfaces is what their .proto files say: made without protoc.
//!
//! `REGENERATE=1 cargo test --test it proto` writes it.

use std::{fs, path::Path};

use prost::Message;
use tempfile::TempDir;

use crate::common::project;

#[test]
fn generated_code_matches_the_proto_files() {
    let descriptors =
        protox::compile(["getlockd.proto", "netlocker.proto", "sharelock.proto"], [project("proto")])
            .unwrap();
    let made = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_client(true)
        .build_transport(false)
        .out_dir(made.path())
        .compile_fds(descriptors.clone())
        .unwrap();
    fs::write(made.path().join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    assert_kept(&made, &project("src/wires/generated"), 4);
}

#[test]
fn generated_code_of_etcd_matches_its_proto_files() {
    let files = project("crates/getlockd-cluster/proto");
    let descriptors = protox::compile(["etcdserverpb.proto", "mvccpb.proto"], [files]).unwrap();
    let made = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(made.path())
        .compile_fds(descriptors)
        .unwrap();
    assert_kept(&made, &project("crates/getlockd-cluster/src/etcd/generated"), 2);
}

/// What was made is what the folder has, or with REGENERATE what it gets.
fn assert_kept(made: &TempDir, folder: &Path, files: usize) {
    let mut count = 0;
    for entry in fs::read_dir(made.path()).unwrap() {
        let path = entry.unwrap().path();
        let kept = folder.join(path.file_name().unwrap());
        count += 1;
        if std::env::var_os("REGENERATE").is_some() {
            fs::create_dir_all(folder).unwrap();
            fs::copy(&path, &kept).unwrap();
        }
        let same = fs::read(&path).unwrap() == fs::read(&kept).unwrap_or_default();
        assert!(
            same,
            "{} is not what the .proto says; REGENERATE=1 cargo test --test it proto",
            kept.display()
        );
    }
    assert_eq!(count, files);
}
