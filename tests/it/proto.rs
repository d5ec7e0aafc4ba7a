//! The committed code of the gRPC interfaces is what their .proto files say: made without protoc.
//!
//! `REGENERATE=1 cargo test --test it proto` writes it.

use std::{fs, path::Path};

use prost::Message;

const GENERATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wires/generated");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
const FILES: [&str; 3] = ["getlockd.proto", "netlocker.proto", "sharelock.proto"];

#[test]
fn generated_code_matches_the_proto_files() {
    let descriptors = protox::compile(FILES, [PROTO]).unwrap();
    let made = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_client(true)
        .build_transport(false)
        .out_dir(made.path())
        .compile_fds(descriptors.clone())
        .unwrap();
    fs::write(made.path().join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(made.path()).unwrap() {
        let path = entry.unwrap().path();
        let kept = Path::new(GENERATED).join(path.file_name().unwrap());
        names.push(kept.clone());
        if std::env::var_os("REGENERATE").is_some() {
            fs::create_dir_all(GENERATED).unwrap();
            fs::copy(&path, &kept).unwrap();
        }
        let same = fs::read(&path).unwrap() == fs::read(&kept).unwrap_or_default();
        assert!(same, "{} is not what proto/ says; REGENERATE=1 cargo test --test it proto", kept.display());
    }
    assert_eq!(names.len(), 4);
}
