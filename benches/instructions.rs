//! `cargo bench --bench instructions`: how many instructions the server executes in user mode for a pair,
//! one take and one release of a lock, by callgrind; then the table of `--bench wire`.
//!
//! `-- --short` leaves the latter out. `-- --check` fails where a count has grown beyond what
//! benches/instructions.toml allows, and `-- --keep` writes that file again.
//!
//! Needs Linux and valgrind. benches/README.md explains it.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{
    fs, io,
    process::{Command, ExitCode},
};

use common::{
    Server,
    callgrind::{self, Counted},
    grpc,
    http::{self, Http},
    kept::{self, Compiler, Counts, Kept, Verdict},
    line::LINE,
    mysql::{MYSQL, PREPARED},
    ratios,
};
use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseRequest};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");

/// One way to take a lock and to free it.
struct Shape {
    name: &'static str,
    server: Counted,
    /// That are counted. Fewer where a pair takes longer.
    pairs: usize,
    /// So many pairs, on one connection to the port, each when the server is asleep.
    work: fn(&Server, u16, usize),
}

const fn shape(name: &'static str, wire: &'static str, pairs: usize, work: fn(&Server, u16, usize)) -> Shape {
    Shape { name, server: Counted { wire, has_store: false }, pairs, work }
}

impl Shape {
    /// The same with a store, which has no leases.
    const fn with_store(self, name: &'static str) -> Self {
        Self { name, server: Counted { has_store: true, ..self.server }, ..self }
    }
}

const LINE_1_DEEP: Shape =
    shape("line-1-deep", "line", 2_048, |server, port, pairs| LINE.pairs(server, port, 1, pairs));
const LINE_32_DEEP: Shape =
    shape("line-32-deep", "line", 8_192, |server, port, pairs| LINE.pairs(server, port, 32, pairs));

const SHAPES: [Shape; 8] = [
    LINE_1_DEEP,
    LINE_1_DEEP.with_store("line-1-deep-store"),
    LINE_32_DEEP,
    LINE_32_DEEP.with_store("line-32-deep-store"),
    shape("mysql-query", "mysql", 1_024, |server, port, pairs| MYSQL.pairs(server, port, 1, pairs)),
    shape("mysql-prepared", "mysql", 1_024, |server, port, pairs| PREPARED.pairs(server, port, 1, pairs)),
    shape("http-lease", "http", 1_024, leases_by_http),
    shape("grpc-lease", "http", 1_024, leases_by_grpc),
];

/// Long enough that none ends by itself, however slow the machine is.
const TTL_MS: u64 = 60_000;

fn leases_by_http(server: &Server, port: u16, pairs: usize) {
    let mut http = Http::connect(port);
    let mut ask = |path, body| {
        server.until_asleep();
        http.ask(&[(path, body)]).remove(0)
    };
    for _ in 0..pairs {
        let taken = ask("acquire", format!(r#"{{"resourceName":"own0","ttlMs":{TTL_MS}}}"#));
        let token = http::lock_token(&taken);
        let freed = ask("release", format!(r#"{{"resourceName":"own0","lockToken":"{token}"}}"#));
        assert!(freed.contains("Released"), "{freed}");
    }
}

fn leases_by_grpc(server: &Server, port: u16, pairs: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut locks = grpc::connect(port).await;
        let name = "own0".to_owned();
        for _ in 0..pairs {
            let wanted = AcquireRequest { name: name.clone(), ttl_ms: Some(TTL_MS), ..Default::default() };
            server.until_asleep();
            let lease_token = locks.acquire(wanted).await.unwrap().into_inner().lease_token;
            server.until_asleep();
            locks.release(ReleaseRequest { name: name.clone(), lease_token }).await.unwrap();
        }
    });
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    Show,
    Short,
    Keep,
    Check,
}

impl Task {
    /// A guard that is misspelt must not pass.
    fn of(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let wanted: Vec<_> = args.filter(|arg| arg != "--bench").collect();
        match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Self::Show),
            ["--short"] => Ok(Self::Short),
            ["--keep"] => Ok(Self::Keep),
            ["--check"] => Ok(Self::Check),
            _ => Err(format!("{}: one of --short, --keep and --check, or none", wanted.join(" "))),
        }
    }
}

fn main() -> ExitCode {
    ratios::become_floor_if_told();
    if common::is_only_asked() {
        return ExitCode::SUCCESS;
    }
    match Task::of(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("\n{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), String> {
    let here = compiler()?;
    let kept = kept()?;
    match task {
        Task::Check => check(&kept.ok_or(format!("{FILE} is not there: `-- --keep` writes it"))?, &here),
        Task::Keep => {
            let counts = measure(kept.as_ref())?;
            fs::write(FILE, Kept { by: here, counts }.to_string()).map_err(|error| format!("{FILE}: {error}"))
        }
        Task::Short => measure(kept.as_ref()).map(drop),
        Task::Show => {
            if let Err(why) = measure(kept.as_ref()) {
                println!("no instructions: {why}");
            }
            println!();
            ratios::print();
            Ok(())
        }
    }
}

fn check(kept: &Kept, here: &Compiler) -> Result<(), String> {
    if kept.by != *here {
        println!("not checked: benches/instructions.toml has the counts of {}, and this is {here}", kept.by);
        return Ok(());
    }
    match Verdict::of(&kept.counts, &measure(Some(kept))?) {
        bad @ Verdict::Fail(_) => Err(bad.to_string()),
        good => {
            println!("\n{good}");
            Ok(())
        }
    }
}

/// The one that builds here, in this folder: the one that has built the server.
fn compiler() -> Result<Compiler, String> {
    let told = Command::new("rustc").args(["--version", "--verbose"]).output();
    let told = told.map_err(|error| format!("rustc: {error}"))?;
    Compiler::parse(&String::from_utf8_lossy(&told.stdout)).ok_or_else(|| "rustc tells no version".to_owned())
}

fn kept() -> Result<Option<Kept>, String> {
    match fs::read_to_string(FILE) {
        Ok(text) => Kept::parse(&text).map(Some).map_err(|error| format!("{FILE}: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{FILE}: {error}")),
    }
}

/// Prints each count as it comes.
fn measure(kept: Option<&Kept>) -> Result<Counts, String> {
    callgrind::check_installed()?;
    println!("instructions of the server in user mode for a pair\n");
    println!("shape               instructions      kept   change");
    let count = |shape: &Shape| {
        let count = callgrind::instructions_a_pair(shape.server, shape.pairs, shape.work);
        let before = kept.and_then(|kept| kept.counts.get(shape.name)).copied();
        show(shape.name, count, before);
        (shape.name.to_owned(), count)
    };
    Ok(SHAPES.iter().map(count).collect())
}

fn show(shape: &str, count: u64, kept: Option<u64>) {
    let (before, change) =
        kept.map_or_else(Default::default, |kept| (kept.to_string(), kept::change(kept, count)));
    println!("{shape:<19} {count:>12}  {before:>8}  {change:>7}");
}
