//! Who runs this program, as the server's lists show it to people.

use std::{env, fs, path::Path};

use rustix::{process::getuid, system::uname};

/// How a client introduces itself by default: `ana@web-3[4711] backup.sh`, with the program's name. It leaves the arguments out:
/// they may be secrets.
#[must_use]
pub fn introduction(program: &str) -> String {
    let mut named = ["LOGNAME", "USER"].into_iter().filter_map(|name| env::var(name).ok());
    let user = named.find(|user| !user.is_empty()).unwrap_or_else(user_of_process);
    let system = uname();
    let host = system.nodename().to_string_lossy();
    format!("{user}@{host}[{}] {program}", std::process::id())
}

/// By name where the machine's file of users has it. Services and containers are often started without variables.
fn user_of_process() -> String {
    let id = getuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = fields.find(|fields| fields.get(2) == Some(&id.as_str()));
    user.map_or_else(|| id.clone(), |fields| fields[0].to_owned())
}

/// This program, without folders.
pub(crate) fn own_program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
