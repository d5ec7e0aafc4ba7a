//! The clients of `clients/`, each in its language: against a server that is killed and started again, and
//! through the steps of `tests/external/languages/steps.md`.
//!
//! `tests/external/languages/LANGUAGE/install` makes two programs of each: one is told what to do as [`Script`] says, the other
//! runs the steps. `tests/common/packages.rs` says when a language is skipped.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command as Build, Stdio},
    time::Duration,
};

use crate::{
    MACHINE,
    common::{
        Client, PATIENCE,
        group::Group,
        packages::{Kind, project},
        program::{PROGRAM, Program},
    },
};
use getlockd::internal::users::{NewEntry, entry};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// A process that is told what to do, one thing at a time: `lock SECONDS NAME` or `shared SECONDS NAME`; while it
/// holds the lock `release`, `leave` (the end of its block) or `watch`. It says what has become of it.
struct Script {
    said: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
    _group: Group,
}

impl Script {
    fn start(story: &Path, port: u16) -> Self {
        Self::with(story, port, &[])
    }

    fn with(story: &Path, port: u16, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(story);
        command.envs(env.iter().copied()).arg(port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command);
        let said = BufReader::new(group.child.stdout.take().unwrap()).lines();
        Self { said, told: group.child.stdin.take().unwrap(), _group: group }
    }

    async fn tell(&mut self, line: &str) {
        self.told.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn said(&mut self) -> String {
        let said = timeout(2 * PATIENCE, self.said.next_line()).await.expect("a word in time").unwrap();
        said.expect("a word, not the end of the script")
    }

    async fn ask(&mut self, line: &str) -> String {
        self.tell(line).await;
        self.said().await
    }

    /// The token of the grant that it tells of.
    async fn granted(&mut self) -> u64 {
        let said = self.said().await;
        said.strip_prefix("granted ").unwrap_or_else(|| panic!("{said}, and no grant")).parse().unwrap()
    }

    async fn take(&mut self, line: &str) -> u64 {
        self.tell(line).await;
        self.granted().await
    }
}

fn server_at(addr: &str, flags: &[&str]) -> Program {
    let wires = ["--line", addr, "--mysql", "off", "--http", "off"];
    Program::spawn(Build::new(PROGRAM).args(wires).args(flags))
}

/// Resolves to the ids of those who wait for a lock, when there are so many.
async fn waiting(line: &mut Client, name: &str, wanted: usize) -> Vec<String> {
    let seen = async {
        loop {
            let rows = line.list(&format!("WAITERS {name}")).await;
            if rows.len() == wanted {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let rows = timeout(PATIENCE, seen).await.expect("waiters in time");
    let id =
        |row: &String| row.split(' ').find_map(|field| field.strip_prefix("session=")).unwrap().to_owned();
    rows.iter().map(id).collect()
}

/// Two processes of a language, and two sessions of ours.
struct Stage {
    a: Script,
    b: Script,
    line: Client,
    eye: Client,
}

impl Stage {
    async fn in_order(&mut self) {
        let first = self.a.take("lock 0 nightly").await;
        assert_eq!(self.b.ask("lock 0 nightly").await, "none");
        self.b.tell("lock 60 nightly").await;
        waiting(&mut self.eye, "nightly", 1).await;
        self.line.send("GET_LOCK nightly 60").await;
        waiting(&mut self.eye, "nightly", 2).await;
        assert_eq!(self.a.ask("release").await, "released");
        assert!(self.b.granted().await > first);
        assert_eq!(waiting(&mut self.eye, "nightly", 1).await.len(), 1);
        assert_eq!(self.b.ask("leave").await, "left");
        assert_eq!(self.line.line().await, "1");
        assert_eq!(self.a.ask("lock 0.05 nightly").await, "none", "in time");
        assert_eq!(self.line.ask("RELEASE_LOCK nightly").await, "1");
    }

    async fn shared(&mut self) {
        let first = self.a.take("shared 0 report").await;
        assert!(self.b.take("shared 0 report").await > first);
        assert_eq!(self.line.ask("GET_LOCK report 0").await, "0");
        assert_eq!(self.a.ask("release").await, "released");
        assert_eq!(self.line.ask("GET_LOCK report 0").await, "0");
        assert_eq!(self.b.ask("release").await, "released");
        assert_eq!(self.line.ask("GET_LOCK report 0").await, "1");
        assert_eq!(self.b.ask("shared 0 report").await, "none");
        assert_eq!(self.line.ask("RELEASE_LOCK report").await, "1");
    }

    async fn any_name(&mut self) {
        for (name, quoted) in [
            (r#"it's "the" café, \n or so"#, r#"'it''s "the" café, \\n or so'"#),
            ("two', 0)␤KILL 1␤('", "'two'', 0)\\nKILL 1\\n('''"),
            (" ", "' '"),
            ("NULL", "'null'"),
            ("ロック 🔒", "'ロック 🔒'"),
        ] {
            self.a.take(&format!("lock 0 {name}")).await;
            assert_ne!(self.line.ask(&format!("IS_USED_LOCK {quoted}")).await, "NULL", "{name}");
            assert_eq!(self.line.list("LOCKS").await.len(), 1);
            assert_eq!(self.a.ask("release").await, "released");
            assert_eq!(self.line.ask(&format!("IS_FREE_LOCK {quoted}")).await, "1", "{name}");
        }
    }

    async fn refused(&mut self) {
        assert_eq!(self.a.ask("lock 0 ").await, "refused BAD_NAME");
        assert_eq!(self.a.ask(&format!("lock -1 {}", "n".repeat(65))).await, "refused BAD_NAME");
        assert_eq!(self.line.ask("GET_LOCK nightly 0").await, "1");
        for (kill, symbol) in [("KILL QUERY", "INTERRUPTED"), ("KILL", "KILLED")] {
            self.a.tell("lock -1 nightly").await;
            let id = waiting(&mut self.eye, "nightly", 1).await.remove(0);
            assert_eq!(self.eye.ask(&format!("{kill} {id}")).await, "1");
            assert_eq!(self.a.said().await, format!("refused {symbol}"), "and does not queue again");
        }
        assert_eq!(self.line.ask("RELEASE_LOCK nightly").await, "1");
    }

    async fn killed(&mut self) {
        for goes_on in ["watch", "leave"] {
            let first = self.a.take("lock 0 nightly").await;
            let id = self.eye.ask("IS_USED_LOCK nightly").await;
            if goes_on == "watch" {
                self.a.tell("watch").await;
            }
            assert_eq!(self.eye.ask(&format!("KILL {id}")).await, "1");
            if goes_on == "leave" {
                self.a.tell("leave").await;
            }
            assert_eq!(self.a.said().await, "lost KILLED");
            assert!(self.a.take("lock 0 nightly").await > first, "anew");
            assert_eq!(self.a.ask("leave").await, "left");
        }
        self.a.take("lock 0 nightly").await;
        let id = self.eye.ask("IS_USED_LOCK nightly").await;
        assert_eq!(self.eye.ask(&format!("KILL {id}")).await, "1");
        let said = self.a.ask("release").await;
        if said != "lost KILLED" {
            assert_eq!((said.as_str(), self.a.said().await.as_str()), ("not released", "lost KILLED"));
        }
    }
}

/// A holds a lock, B waits for another, and the server is killed and comes back.
async fn outlived(mut stage: Stage, server: Program) {
    let addr = server.addr.to_string();
    let first = stage.a.take("lock 0 nightly").await;
    stage.a.tell("watch").await;
    assert_eq!(stage.line.ask("GET_LOCK weekly 0").await, "1");
    stage.b.tell("lock 60 weekly").await;
    waiting(&mut stage.eye, "weekly", 1).await;
    drop(server); // by SIGKILL
    assert_eq!(stage.a.said().await, "lost");
    assert_eq!(stage.a.ask("lock 0 nightly").await, "away");
    stage.a.tell("lock 60 nightly").await;
    let server = server_at(&addr, &[]);
    assert!(stage.a.granted().await > first);
    assert!(stage.b.granted().await > first, "it has queued again");
    server.signal("-TERM");
    for script in [&mut stage.a, &mut stage.b] {
        assert_eq!(script.ask("leave").await, "left", "within --drain");
    }
    assert!(server.wait().0.success());
}

/// An authority, and below it a certificate for this machine: `NAME.pem` and `NAME.key`.
fn certify(folder: &Path, name: &str) -> PathBuf {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "an authority"); // not that of whom it signs
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join(format!("{name}.pem")), cert.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    let ca = folder.join(format!("{name}.ca"));
    fs::write(&ca, authority.pem()).unwrap();
    ca
}

fn web(password: &str, lock: &str) -> String {
    let wanted = NewEntry { name: "web".to_owned(), lock: vec![lock.to_owned()], ..NewEntry::default() };
    entry(&wanted, password.as_bytes(), false).unwrap()
}

/// By TLS, with a password that wants quotes; then the user may no longer lock what they hold.
async fn logged_in(story: &Path) {
    const PASSWORD: &str = r#"it's "my" \n secret, é"#;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [ca, strange] = ["server", "strange"].map(|name| certify(folder.path(), name).display().to_string());
    fs::write(file("users.toml"), web(PASSWORD, "web:")).unwrap();
    let [users, cert, key] = ["users.toml", "server.pem", "server.key"].map(file);
    let server = server_at("127.0.0.1:0", &["--users", &users, "--tls-cert", &cert, "--tls-key", &key]);
    let start = |ca: &str, user, password| {
        let env = [("GETLOCK_CA", ca), ("GETLOCK_USER", user), ("GETLOCK_PASSWORD", password)];
        Script::with(story, server.addr.port(), &env)
    };
    assert_eq!(start(&strange, "web", PASSWORD).ask("lock 0 web:nightly").await, "away");
    assert_eq!(start(&ca, "", "").ask("lock 60 web:nightly").await, "refused AUTH");
    assert_eq!(start(&ca, "web", "wrong").ask("lock 60 web:nightly").await, "refused AUTH");
    let mut script = start(&ca, "web", PASSWORD);
    assert_eq!(script.ask("lock 60 nightly").await, "refused DENIED");
    script.take("lock 60 web:nightly").await;
    assert_eq!(script.ask("release").await, "released");
    script.take("shared 60 web:nightly").await;
    script.tell("watch").await;
    fs::write(&users, web(PASSWORD, "other:")).unwrap();
    server.signal("-HUP");
    assert_eq!(script.said().await, "lost DENIED");
    assert_eq!(script.ask("lock 60 web:nightly").await, "refused DENIED");
}

async fn story(kind: Kind) {
    let Some(story) = kind.program("story") else { return };
    let _beside_others = MACHINE.read().await;
    let server = server_at("127.0.0.1:0", &[]);
    let [a, b] = [(); 2].map(|()| Script::start(&story, server.addr.port()));
    let [line, eye] = [Client::connect(server.addr).await, Client::connect(server.addr).await];
    let mut stage = Stage { a, b, line, eye };
    stage.in_order().await;
    stage.shared().await;
    stage.any_name().await;
    stage.refused().await;
    stage.killed().await;
    outlived(stage, server).await;
    logged_in(&story).await;
}

/// The steps that a language must pass, by the table that stands once for all.
fn expected(language: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(project("tests/external/languages/steps.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| step "));
    let steps = rows.filter_map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [step, _, not_in] = cells[..] else { panic!("{row}") };
        not_in.split(", ").all(|other| other != language).then(|| step.to_owned())
    });
    steps.collect()
}

async fn steps(kind: Kind) {
    let Some(steps) = kind.program("steps") else { return };
    let _alone = MACHINE.write().await;
    let (server, _, http) = Program::on_all_wires(&[]);
    let mut command = Command::new(steps);
    command.args([server.addr.port(), http.port()].map(|port| port.to_string()));
    let group = Group::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let output = timeout(12 * PATIENCE, group.output()).await.expect("an end in time").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let passed: BTreeSet<_> =
        out.lines().filter_map(|line| line.strip_prefix("ok ").map(str::to_owned)).collect();
    assert!(output.status.success(), "{out}{err}");
    let missing: Vec<_> = expected(kind.language).difference(&passed).cloned().collect();
    assert!(missing.is_empty(), "{missing:?} are missing from:\n{out}{err}");
}

macro_rules! clients {
    ($($client:ident: $at:literal;)*) => {
        $(mod $client {
            use super::{Kind, steps, story};

            #[tokio::test]
            async fn scripted_scenario() {
                story(Kind::ALL[$at]).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn documented_steps() {
                steps(Kind::ALL[$at]).await;
            }
        })*
    };
}

clients! {
    python: 0;
    python_asyncio: 1;
    node: 2;
    golang: 3;
    java: 4;
    php: 5;
    ruby: 6;
}

#[test]
fn every_client_is_run() {
    let known = BTreeSet::from(Kind::ALL.map(|kind| kind.language));
    for folder in ["clients", "tests/external/languages"] {
        let entries = fs::read_dir(project(folder)).unwrap().map(|entry| entry.unwrap());
        for entry in entries.filter(|entry| entry.file_type().unwrap().is_dir()) {
            let name = entry.file_name().into_string().unwrap();
            assert!(known.contains(name.as_str()), "{folder}/{name}");
        }
    }
}

#[test]
fn packages_have_the_version_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("python/pyproject.toml", format!("version = \"{version}\"")),
        ("node/package.json", format!("\"version\": \"{version}\"")),
        ("go/doc.go", format!("const Version = \"{version}\"")),
        ("java/pom.xml", format!("<version>{version}</version>")),
        ("php/composer.json", format!("\"version\": \"{version}\"")),
        ("ruby/lib/getlock.rb", format!("VERSION = \"{version}\"")),
    ] {
        let text = fs::read_to_string(project("clients").join(file)).unwrap();
        assert!(text.contains(&line), "{file} has no {line}");
    }
}
