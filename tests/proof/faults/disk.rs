//! The disk under a lease store fails while the server runs, and is mended. strace makes system calls fail, and a small
//! tmpfs is filled. What is promised all the while: no lease is lost that was told, none is back that was told released,
//! locks of connections and short leases go on, and all of it recovers by itself.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    MACHINE,
    common::{
        Client,
        http::{Request, get, post},
        program::{PROGRAM, Program, next_with},
        skip::{skip, skip_missing},
    },
};

const KEPT: &str = "the lease has ended; its lock is kept until the lease store can be written";
const REFUSED: &str = "the lease store cannot be written; try again later";
const CANNOT: &str = "cannot write the lease store";
const CAN: &str = "the lease store can be written again";
const READY: &str = "ok, but the lease store cannot be written: no long lease is granted";

/// A server with a store.
struct Server {
    program: Program,
    http: SocketAddr,
}

impl Server {
    /// By a command that runs the program that is behind it.
    fn start(mut command: Command, store: &Path) -> Self {
        command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "127.0.0.1:0"]);
        command.args(["--drain", "0s", "--store-anyway", "--lease-min", "10ms", "--store"]).arg(store);
        let mut program = Program::spawn(&mut command);
        let http = program.next_addr();
        Self { program, http }
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        post(self.http, &format!("/api/lock/{path}"), body).await
    }

    async fn acquire(&self, name: &str, ttl: Duration) -> (u16, Value) {
        self.post("acquire", &json!({"resourceName": name, "clientId": "x", "ttlMs": ttl.as_millis()})).await
    }

    /// A lease that is granted: what its client sends from then on.
    async fn lease(&self, name: &str, ttl: Duration) -> Value {
        let (status, grant) = self.acquire(name, ttl).await;
        assert_eq!(status, 200, "{grant}");
        json!({"resourceName": name, "lockToken": grant["lockToken"]})
    }

    /// A lease that has been renewed: no heartbeat has anything to write from then on.
    async fn renewed_lease(&self, name: &str) -> Value {
        let lease = self.lease(name, LONG).await;
        assert_eq!(self.post("heartbeat", &lease).await.0, 200);
        lease
    }

    /// Takes leases until one is refused: a full disk may have room for a few. Their names.
    async fn acquire_until_refused(&self) -> Vec<String> {
        for index in 0_usize.. {
            let (status, answer) = self.acquire(&format!("more{index}"), LONG).await;
            if status != 200 {
                assert_eq!((status, answer["message"].as_str()), (503, Some(REFUSED)), "{answer}");
                return (0..index).map(|index| format!("more{index}")).collect();
            }
        }
        unreachable!()
    }

    async fn metric(&self, name: &str) -> u64 {
        let (_, metrics) = get(self.http, "/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse().unwrap()
    }

    /// The names of the locks that are held.
    async fn held(&self) -> Vec<String> {
        let locks: Value = serde_json::from_str(&get(self.http, "/api/locks?limit=1000").await.1).unwrap();
        let names = locks["locks"].as_array().unwrap().iter().map(|lock| lock["name"].as_str().unwrap());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    }
}

const LONG: Duration = Duration::from_mins(5);
/// Not written.
const SHORT: Duration = Duration::from_millis(50);

/// Makes system calls of a program fail until it is mended.
struct Strace(Child);

impl Strace {
    /// None, and a line, where there is no strace or nobody may use it.
    fn attach(pid: u32, faults: &[&str]) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        let calls = faults.iter().map(|fault| fault.split(':').next().unwrap());
        command.args(["-e", &format!("trace={}", calls.collect::<Vec<_>>().join(","))]);
        for fault in faults {
            command.args(["-e", &format!("inject={fault}")]);
        }
        let Ok(mut strace) = command.stderr(Stdio::piped()).spawn() else {
            skip_missing("strace");
            return None;
        };
        let mut told = String::new();
        BufReader::new(strace.stderr.take().unwrap()).read_line(&mut told).unwrap();
        if told.contains("attached") {
            return Some(Self(strace));
        }
        strace.wait().unwrap();
        skip("faults of a disk by strace", told.trim(), "allow ptrace");
        None
    }
}

/// What it held up goes on.
impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is held before the fault.
struct Held {
    renewed: Value,
    /// Its client has sent no heartbeat yet.
    fresh: Value,
    released: Value,
    expired: Value,
    connection: Client,
    waiter: Client,
}

impl Held {
    async fn on(server: &Server) -> Self {
        let renewed = server.renewed_lease("renewed").await;
        let fresh = server.lease("fresh", LONG).await;
        let released = server.lease("released", LONG).await;
        let expired = server.renewed_lease("expired").await;
        server.lease("killed", LONG).await;
        let mut connection = Client::connect(server.program.addr).await;
        let mut waiter = Client::connect(server.program.addr).await;
        assert_eq!(connection.ask("GET_LOCK connection 0").await, "1");
        waiter.send("GET_LOCK released -1").await;
        Self { renewed, fresh, released, expired, connection, waiter }
    }

    /// What clients see while the disk fails. The leases that were granted before it did.
    async fn while_it_fails(&mut self, server: &mut Server) -> Vec<String> {
        let granted = server.acquire_until_refused().await;
        next_with(server.program.log.as_mut().unwrap(), CANNOT);
        assert_eq!(server.post("heartbeat", &self.renewed).await.1["status"], "HeartbeatReceived");
        assert_eq!(server.post("heartbeat", &self.fresh).await.1["status"], "HeartbeatReceived");
        let mut longer = self.fresh.clone();
        longer["ttlMs"] = json!(2 * LONG.as_millis());
        assert_eq!(server.post("heartbeat", &longer).await.0, 503, "its longer time cannot be written");
        assert_eq!(server.acquire("short", SHORT).await.0, 200, "it need not be written");
        assert_eq!(self.connection.ask("GET_LOCK another 0").await, "1");
        let (status, told) = server.post("release", &self.released).await;
        assert_eq!((status, told["message"].as_str()), (503, Some(KEPT)), "{told}");
        let row = self.connection.list("LOCKS killed").await[0].clone();
        let session = row.split(' ').find_map(|word| word.strip_prefix("session=")).unwrap().to_owned();
        let killed = self.connection.ask(&format!("KILL {session}")).await;
        assert_eq!(killed, format!("ERROR UNAVAILABLE {KEPT}"));
        self.expired["ttlMs"] = json!(SHORT.as_millis());
        assert_eq!(
            server.post("heartbeat", &self.expired).await.0,
            200,
            "a shorter time need not be written"
        );
        sleep(SHORT).await;
        assert_eq!(server.post("heartbeat", &self.expired).await.0, 503);
        for name in ENDED {
            assert_eq!(
                self.connection.ask(&format!("GET_LOCK {name} 0")).await,
                "0",
                "{name} is not deleted"
            );
        }
        let held = server.held().await;
        assert!(ENDED.iter().all(|name| held.iter().any(|held| held == name)), "all see that: {held:?}");
        assert_eq!(get(server.http, "/readyz").await, (200, READY.to_owned()));
        assert_eq!(server.metric("getlockd_store_writable").await, 0);
        assert!(server.metric("getlockd_store_errors_total").await > 0);
        granted
    }

    /// What they see when it has been mended. How long that took.
    async fn when_it_is_mended(&mut self, server: &mut Server) -> Duration {
        let since = Instant::now();
        assert_eq!(self.waiter.line().await, "1", "its lease was released");
        let took = since.elapsed();
        let log = server.program.log.as_mut().unwrap();
        let between = log.lines().map(Result::unwrap).take_while(|line| !line.contains(CAN));
        let told: Vec<_> = between.filter(|line| line.contains("lease store")).collect();
        assert!(told.is_empty(), "one line tells of the fault, and one of its end: {told:?}");
        assert_eq!(get(server.http, "/readyz").await, (200, "ok".to_owned()));
        assert_eq!(server.metric("getlockd_store_writable").await, 1);
        assert_eq!(server.post("heartbeat", &self.fresh).await.0, 200);
        server.lease("new", LONG).await;
        took
    }
}

/// Leases that end while the disk fails.
const ENDED: [&str; 3] = ["expired", "killed", "released"];

/// What a server finds that is started behind one that was killed.
async fn after_a_crash(server: Server, command: Command, store: &Path) -> Vec<String> {
    drop(server);
    Server::start(command, store).held().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_system_calls_lose_no_lease_and_are_recovered_from() {
    let _beside_others = MACHINE.read().await;
    // A write that failed may have reached the disk, so the server writes a new file. The second of two faults hits that.
    for faults in [
        &["fdatasync:error=EIO"][..],
        &["fdatasync:error=ENOSPC"],
        &["pwrite64:error=EIO"],
        &["pwrite64:error=ENOSPC"],
        &["pwrite64:error=EDQUOT"],
        &["pwrite64:retval=0"],
        &["fdatasync:error=EIO:when=1", "ftruncate:error=ENOSPC"],
        &["fdatasync:error=EIO:when=1", "fsync:error=EIO"],
        &["fdatasync:error=EIO:when=1", "/^rename:error=EROFS"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("leases");
        let mut server = Server::start(Command::new(PROGRAM), &store);
        let mut held = Held::on(&server).await;
        let Some(strace) = Strace::attach(server.program.id(), faults) else { return };
        let granted = held.while_it_fails(&mut server).await;
        drop(strace);
        let took = held.when_it_is_mended(&mut server).await;
        println!("\n| {} | {took:.1?} |", faults.join(", "));
        let mut expected = [granted, ["fresh", "new", "renewed"].map(str::to_owned).to_vec()].concat();
        expected.sort();
        assert_eq!(after_a_crash(server, Command::new(PROGRAM), &store).await, expected, "{faults:?}");
    }
}

/// What was refused may be there or not; what was promised is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_the_disk_fails_loses_no_lease() {
    let _beside_others = MACHINE.read().await;
    for is_killed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("leases");
        let mut server = Server::start(Command::new(PROGRAM), &store);
        let mut held = Held::on(&server).await;
        let Some(strace) = Strace::attach(server.program.id(), &["fdatasync:error=EIO"]) else { return };
        held.while_it_fails(&mut server).await;
        if is_killed {
            drop(server);
        } else {
            server.program.signal("-TERM");
            assert!(server.program.wait().0.success());
        }
        drop(strace);
        let found = Server::start(Command::new(PROGRAM), &store).held().await;
        assert!(["fresh", "renewed"].iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
    }
}

/// A disk that hangs: nothing is promised, and who has left gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_disk_keeps_clients_waiting_and_no_server_from_stopping() {
    let _beside_others = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("leases");
    let mut server = Server::start(Command::new(PROGRAM), &store);
    let lease = server.renewed_lease("lease").await;
    let hang = "fdatasync:delay_enter=3600000000";
    let Some(strace) = Strace::attach(server.program.id(), &[hang]) else { return };
    let mut connection = Client::connect(server.program.addr).await;
    let wish = json!({"resourceName": "left", "clientId": "x", "ttlMs": LONG.as_millis()}).to_string();
    let request = Request::send(server.http, "POST", "/api/lock/acquire", &wish).await;
    while connection.ask("IS_FREE_LOCK left").await == "1" {}
    drop(request);
    assert_eq!(server.post("heartbeat", &lease).await.1["status"], "HeartbeatReceived");
    drop(strace);
    assert_eq!(connection.ask("GET_LOCK left 60").await, "1", "the lease was taken back");

    let Some(strace) = Strace::attach(server.program.id(), &[hang]) else { return };
    let _waiting =
        Request::send(server.http, "POST", "/api/lock/acquire", &wish.replace("left", "other")).await;
    while connection.ask("IS_FREE_LOCK other").await == "1" {}
    server.program.signal("-TERM");
    let log = server.program.log.as_mut().unwrap();
    next_with(log, "the lease store was not closed in good order");
    next_with(log, "stopped");
    drop(strace);
    assert!(server.program.wait().0.success());
    let found = Server::start(Command::new(PROGRAM), &store).held().await;
    assert!(found.iter().any(|name| name == "lease"), "{found:?}");
}

/// A tmpfs in a namespace of its own, which is there for as long as this is.
struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// None, and a line, where nobody may mount one.
    fn mount(folder: &Path) -> Option<Self> {
        let mount = "mount -t tmpfs -o size=8m none \"$0\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", mount]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut holder) = command.spawn() else {
            skip_missing("unshare");
            return None;
        };
        let mut told = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut told).unwrap();
        if told.trim() == "mounted" {
            return Some(Self { holder, folder: folder.to_owned() });
        }
        holder.wait().unwrap();
        skip("a full disk", "nobody may mount a tmpfs", "allow user namespaces");
        None
    }

    /// The program, where it sees this.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder.id().to_string();
        command.args(["--user", "--mount", "--preserve-credentials", "-t", &target, PROGRAM]);
        command
    }

    /// Fills it with a file.
    fn fill(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let filler = root.join(self.folder.strip_prefix("/").unwrap()).join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[1; 512]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_loses_no_lease_and_is_recovered_from() {
    let _beside_others = MACHINE.read().await;
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else { return };
    let store = folder.path().join("leases");
    let mut server = Server::start(disk.command(), &store);
    let mut held = Held::on(&server).await;
    let filler = disk.fill();
    let granted = held.while_it_fails(&mut server).await;
    fs::remove_file(filler).unwrap();
    let took = held.when_it_is_mended(&mut server).await;
    println!("\n| full disk, {} leases later | {took:.1?} |", granted.len());
    let mut expected = [granted, ["fresh", "new", "renewed"].map(str::to_owned).to_vec()].concat();
    expected.sort();
    assert_eq!(after_a_crash(server, disk.command(), &store).await, expected);
}
