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
    Permit(u16),
    Exclusive,
}

impl Mode {
    /// Whether a session that holds a lock so takes it once more if it asks for it in another mode.
    pub fn covers(self, other: Self) -> bool {
        self == Self::Exclusive || self == other
    }
}

/// A wish for all of several locks. It waits as a [`Wish`] does.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    pub names: &'a [&'a str],
    pub mode: Mode,
    pub wait_ms: i64,
}

/// What is said to it, and the fencing token of each hold there is.
pub struct Several {
    pub said: Said,
    /// After 0 the name that was in the way.
    pub in_the_way: Option<String>,
    pub tokens: Vec<Option<u64>>,
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
    /// Others have the lock with another limit of permits, or shared.
    LimitDiffers,
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
                    Mode::Permit(_) => unreachable!("only the line wire is asked for permits"),
                };
                let name = wish.name.to_owned();
                let (mode, wait_ms) = (mode.into(), wish.wait_ms);
                hold.try_send(Command::GetLock(GetLock { name, mode, wait_ms, ..GetLock::default() })).await;
                let heard = hold.heard().await?;
                Some((said(&heard), heard.fencing_token))
            }
        }
    }

    /// On the line wire.
    pub async fn get_several(&mut self, wishes: Wishes<'_>) -> Option<Several> {
        let Self::Line(line) = self else { unreachable!("only the line wire is asked for several locks") };
        let Wishes { names, mode, wait_ms } = wishes;
        let function = if mode == Mode::Shared { "GET_SHARED_LOCKS" } else { "GET_LOCKS" };
        let tokens: String = names.iter().map(|name| format!("\nFENCING_TOKEN {name}")).collect();
        line.send(&format!("{function} {} {}{tokens}", names.join(" "), wait(wait_ms))).await;
        let answer = line.next().await?;
        let (said, in_the_way) = match answer.strip_prefix("0 ") {
            Some(name) => (NO, Some(name.to_owned())),
            None => (told(&answer)?, None),
        };
        let mut tokens = Vec::new();
        for _ in names {
            tokens.push(number(told(&line.next().await?)?));
        }
        Some(Several { said, in_the_way, tokens })
    }

    /// On the line wire; so many were released.
    pub async fn release_several(&mut self, names: &[&str]) -> Option<Said> {
        self.call("RELEASE_LOCKS", Some(&names.join(" "))).await
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
        line if line.starts_with("ERROR LIMIT_DIFFERS ") => Said::LimitDiffers,
        line if line.starts_with("ERROR INTERRUPTED wait cancelled ") => Said::Interrupted,
        line if line.starts_with("ERROR KILLED ") => return None,
        number => Said::Number(number.parse().unwrap_or_else(|_| panic!("{number}"))),
    })
}

async fn get_by_line(
    line: &mut Client,
    Wish { name, mode, wait_ms }: Wish<'_>,
) -> Option<(Said, Option<u64>)> {
    let (function, wait) = (function(mode), wait(wait_ms));
    let limit = if let Mode::Permit(limit) = mode { format!(" {limit}") } else { String::new() };
    line.send(&format!("{function} {name}{limit} {wait}\nFENCING_TOKEN {name}")).await;
    let said = told(&line.next().await?)?;
    Some((said, number(told(&line.next().await?)?)))
}

fn wait(millis: i64) -> String {
    if millis < 0 { "-1".to_owned() } else { format!("{millis}ms") }
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
        Mode::Permit(_) => "GET_PERMIT",
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
