//! A session on whatever wire. Each call is `None` if the session was ended.

use getlockd::internal::grpc::proto::{
    GetLock, HoldResponse, Introduce, LockMode, ReleaseAllLocks, ReleaseLock, hold_request::Command,
};

use crate::common::{
    Addrs, Client,
    grpc::Hold,
    mysql::{MySql, Reply},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// A wish for a lock. It tries with 0 ms, and waits forever with less.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub name: &'a str,
    pub mode: Mode,
    pub wait_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Number(u64),
    Null,
    Deadlock,
    /// `KILL QUERY` ended the wait.
    Interrupted,
}

pub const YES: Said = Said::Number(1);
pub const NO: Said = Said::Number(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Line,
    MySql,
    Hold,
}

pub enum Caller {
    Line(Client),
    MySql(MySql),
    Hold(Hold),
}

impl Caller {
    /// A new session, with its number where the wire tells it.
    pub async fn open(addrs: Addrs, wire: Wire) -> (Self, Option<u32>) {
        match wire {
            Wire::Line => {
                let mut client = Client::connect(addrs.line).await;
                let id = client.id().await;
                (Self::Line(client), Some(id))
            }
            Wire::MySql => {
                let client = MySql::connect(addrs.mysql).await;
                let id = client.id;
                (Self::MySql(client), Some(id))
            }
            Wire::Hold => (Self::Hold(Hold::open(addrs.http).await), None),
        }
    }

    /// Gives a session a name that SESSIONS shows, where the wire can.
    pub async fn introduce(&mut self, client: &str) -> Option<()> {
        let Self::Hold(hold) = self else { return Some(()) };
        hold.try_send(Command::Introduce(Introduce { client: client.to_owned(), note: String::new() })).await;
        hold.heard().await.map(drop)
    }

    /// What is answered, and the fencing token of the hold if there is one.
    pub async fn get(&mut self, wish: Wish<'_>) -> Option<(Said, Option<u64>)> {
        match self {
            Self::Line(line) => get_by_line(line, wish).await,
            Self::MySql(mysql) => get_by_mysql(mysql, wish).await,
            Self::Hold(hold) => {
                let mode = match wish.mode {
                    Mode::Shared => LockMode::Shared,
                    Mode::Exclusive => LockMode::Exclusive,
                };
                let name = wish.name.to_owned();
                let (mode, wait_ms) = (mode.into(), wish.wait_ms);
                hold.try_send(Command::GetLock(GetLock { name, mode, wait_ms, ..GetLock::default() })).await;
                let heard = hold.heard().await?;
                Some((said(&heard), heard.fencing_token))
            }
        }
    }

    pub async fn release(&mut self, name: &str) -> Option<Said> {
        match self {
            Self::Hold(hold) => {
                hold.try_send(Command::ReleaseLock(ReleaseLock { name: name.to_owned() })).await;
                hold.heard().await.map(|heard| said(&heard))
            }
            _ => self.call("RELEASE_LOCK", Some(name)).await,
        }
    }

    pub async fn release_all(&mut self) -> Option<Said> {
        match self {
            Self::Hold(hold) => {
                hold.try_send(Command::ReleaseAllLocks(ReleaseAllLocks {})).await;
                hold.heard().await.map(|heard| said(&heard))
            }
            _ => self.call("RELEASE_ALL_LOCKS", None).await,
        }
    }

    /// A function of a name, by a wire that has functions: not by Hold.
    pub async fn call(&mut self, function: &str, name: Option<&str>) -> Option<Said> {
        match self {
            Self::Line(line) => {
                line.send(&format!("{function} {}", name.unwrap_or_default())).await;
                told(&line.next().await?)
            }
            Self::MySql(mysql) => {
                let name = name.map(|name| format!("'{name}'")).unwrap_or_default();
                let row = row(mysql, &format!("SELECT {function}({name})")).await?;
                Some(row.map_or_else(|said| said, |row| row[0]))
            }
            Self::Hold(_) => unreachable!("a stream has no {function}"),
        }
    }

    /// Says goodbye; whether the server said that all is free.
    pub async fn quit(self) -> bool {
        let Self::Line(mut line) = self else { return false };
        line.send("QUIT").await;
        line.next().await.as_deref() == Some("BYE")
    }
}

/// None if the line says that the session is over.
fn told(line: &str) -> Option<Said> {
    Some(match line {
        "NULL" => Said::Null,
        line if line.starts_with("ERROR DEADLOCK ") => Said::Deadlock,
        line if line.starts_with("ERROR INTERRUPTED wait cancelled ") => Said::Interrupted,
        line if line.starts_with("ERROR KILLED ") => return None,
        number => Said::Number(number.parse().unwrap_or_else(|_| panic!("{number}"))),
    })
}

async fn get_by_line(
    line: &mut Client,
    Wish { name, mode, wait_ms }: Wish<'_>,
) -> Option<(Said, Option<u64>)> {
    let function = function(mode);
    let wait = if wait_ms < 0 { "-1".to_owned() } else { format!("{wait_ms}ms") };
    line.send(&format!("{function} {name} {wait}\nFENCING_TOKEN {name}")).await;
    let said = told(&line.next().await?)?;
    Some((said, number(told(&line.next().await?)?)))
}

async fn get_by_mysql(mysql: &mut MySql, wish: Wish<'_>) -> Option<(Said, Option<u64>)> {
    let Wish { name, mode, wait_ms } = wish;
    let (seconds, millis) = (wait_ms / 1000, wait_ms % 1000);
    let wait = if wait_ms < 0 { "-1".to_owned() } else { format!("{seconds}.{millis:03}") };
    let sql = format!("SELECT {}('{name}', {wait}), FENCING_TOKEN('{name}')", function(mode));
    Some(match row(mysql, &sql).await? {
        Ok(row) => (row[0], number(row[1])),
        Err(said) => (said, None),
    })
}

fn function(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "GET_SHARED_LOCK",
        Mode::Exclusive => "GET_LOCK",
    }
}

fn number(said: Said) -> Option<u64> {
    if let Said::Number(number) = said { Some(number) } else { None }
}

/// The one row of a result, or what it was refused with.
async fn row(mysql: &mut MySql, sql: &str) -> Option<Result<Vec<Said>, Said>> {
    mysql.start(sql).await;
    Some(match mysql.heard().await? {
        Reply::Rows { rows, .. } => Ok(rows[0].iter().map(|text| value(text.as_ref())).collect()),
        Reply::Error { code: 3058, .. } => Err(Said::Deadlock),
        Reply::Error { code: 1317, .. } => {
            // KILL and KILL QUERY say the same; only after the one there is no connection.
            mysql.send(0, b"\x0e").await;
            mysql.heard().await?;
            Err(Said::Interrupted)
        }
        other => panic!("{sql}: {other:?}"),
    })
}

fn value(value: Option<&String>) -> Said {
    value.map_or(Said::Null, |value| Said::Number(value.parse().unwrap()))
}

fn said(heard: &HoldResponse) -> Said {
    match (heard.result, &heard.refusal) {
        (Some(number), _) => Said::Number(number),
        (None, None) => Said::Null,
        (None, Some(refusal)) if refusal.symbol == "DEADLOCK" => Said::Deadlock,
        (None, Some(refusal)) if refusal.symbol == "INTERRUPTED" => Said::Interrupted,
        (None, Some(refusal)) => panic!("{refusal:?}"),
    }
}
