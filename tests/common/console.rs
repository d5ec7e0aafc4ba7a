//! What a page shows in a console, and what a shell says to it.

use std::{path::Path, process::Stdio};

use tokio::{process::Command, time::timeout};

use super::{PATIENCE, TestServer, group::Group};

pub async fn output(program: &str, args: &[&str], folder: &Path) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Group::spawn(&mut command).output();
    let output = timeout(3 * PATIENCE, output).await.expect("an end in time").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() || err.is_empty(), "{program} {args:?}: {err}");
    out.into_owned()
}

/// Runs the console of a page in which a program is used, which may be in a folder of ours: nothing if it shows what is shown, else all it shows.
pub async fn shown(page: &str, server: &TestServer, program: &str, folder: &Path) -> String {
    let consoles = page.split("\n```console\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let console = consoles.into_iter().find(|console| console.contains(&format!("{program} "))).unwrap();
    let port = |text: &str| {
        let text = text.replace("3305", &server.addr.port().to_string());
        text.replace("3308", &server.http.port().to_string())
    };
    let commands: Vec<_> = console.lines().filter_map(|line| line.strip_prefix("$ ")).map(port).collect();
    let shown: String = console.lines().filter(|line| !line.starts_with("$ ")).collect();
    let around = format!("export PATH={}:$PATH GETLOCK_HOST={}\n", folder.display(), server.addr);
    let got = output("sh", &["-c", &(around + &commands.join("\n"))], Path::new(".")).await;
    if got.replace('\n', "") == shown { String::new() } else { got }
}
