//! What the log says to a person at a terminal.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::ffi::OsStrExt,
    process::{Child, Command, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::common::program::{PROGRAM, next_with};

/// A server whose log goes to a terminal.
struct OnTerminal {
    child: Child,
    log: BufReader<File>,
}

impl OnTerminal {
    fn start(flags: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options().write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        let mut command = Command::new(PROGRAM);
        let child = command.args(flags).stderr(Stdio::from(terminal)).spawn().unwrap();
        Self { child, log: BufReader::new(File::from(controller)) }
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text behind a word, up to its end.
fn behind<'a>(line: &'a str, word: &str, end: char) -> &'a str {
    line.split(word).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn start_says_what_to_do_next_and_stop_how_to_hurry() {
    let flags = ["--line", "127.0.0.1:0", "--mysql", "off", "--http", "0.0.0.0:0", "--open", "--drain", "1h"];
    let mut server = OnTerminal::start(&flags);
    let told = next_with(&mut server.log, "then HELP");
    let (http, line) = (behind(&told, "open http://", '/'), behind(&told, "run: nc ", ',').replace(' ', ":"));
    assert!(TcpStream::connect(http).is_ok(), "{told}");

    let mut holder = BufReader::new(TcpStream::connect(line).unwrap());
    holder.get_mut().write_all(b"GET_LOCK x 0\n").unwrap();
    let mut reply = String::new();
    holder.read_line(&mut reply).unwrap();
    assert_eq!(reply, "1\n");
    server.interrupt();
    let told = next_with(&mut server.log, "press ^C again to stop now");
    assert!(told.contains("waiting up to 3600s for sessions that hold locks"), "{told}");
    server.interrupt();
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
}

#[test]
fn stop_without_holders_asks_for_no_second_signal() {
    let mut server = OnTerminal::start(&["--line", "127.0.0.1:0", "--mysql", "off", "--http", "off"]);
    let told = next_with(&mut server.log, "then HELP");
    assert!(told.contains("run: nc 127.0.0.1 ") && !told.contains("open "), "{told}");
    server.interrupt();
    loop {
        let mut line = String::new();
        assert!(server.log.read_line(&mut line).unwrap() > 0 && !line.contains("^C"), "{line}");
        if line.contains("stopped") {
            break;
        }
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
