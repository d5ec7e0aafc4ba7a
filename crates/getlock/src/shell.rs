//! `getlock shell`: a session of the line protocol for people.

mod prompt;

use std::{
    io::{self, IsTerminal, Write, stdin, stdout},
    time::Duration,
};

use getlockd_client::{visible, written};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf, split,
    },
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use crate::{
    args::ServerArgs,
    exit::{self, Failure},
    introduction::OWN,
    say,
    waiting::ShownWait,
};
use prompt::{Prompt, Typed};

/// How long the server may take to let a session in. A node of a cluster is silent for up to 10 s while no node leads.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// Sends what is typed, and shows what is replied.
///
/// Cancel-safe: dropped, the session ends.
pub(crate) async fn shell(server: &ServerArgs) -> Result<u8, Failure> {
    let on_terminal = stdin().is_terminal() && stdout().is_terminal();
    let mut session = ShellSession::open(server).await?;
    let commands = session.commands().await.map_err(|_| Failure::unavailable(LOST))?;
    let mut prompt = if on_terminal {
        say(&format_args!(
            "session {}. HELP lists the commands, ^C cancels a wait, ^D ends the session",
            session.id
        ));
        Prompt::on_terminal(server, commands)?
    } else {
        Prompt::on_stdin()
    };
    let mut shell = Shell { server, session: Some(session), interrupt: None };
    if on_terminal {
        shell.interrupt = Some(signal(SignalKind::interrupt()).map_err(Failure::system)?);
    }
    loop {
        let typed = tokio::select! {
            typed = prompt.next() => typed,
            unasked = shell.unasked() => {
                match unasked {
                    Unasked::Event(event) if on_terminal => prompt.say(&event),
                    Unasked::Event(event) => {
                        if let Err(error) = print(&event) {
                            return exit::when_written(Err(error));
                        }
                    }
                    Unasked::Lost(lost) if on_terminal => prompt.say(&lost),
                    Unasked::Lost(lost) => return Err(Failure::unavailable(lost)),
                }
                continue;
            }
        };
        let line = match typed {
            Typed::Line(line) if line.trim().is_empty() => continue,
            Typed::Line(line) => line,
            Typed::End => return Ok(exit::OK),
            Typed::Failed(error) => return Err(Failure::system(error)),
        };
        match shell.perform(&line).await {
            Ok(AfterLine::Line) => {}
            Ok(AfterLine::End) => return Ok(exit::OK),
            Err(failure) if on_terminal => say(&failure),
            Err(failure) => return Err(failure),
        }
    }
}

const LOST: &str = "the connection is lost, and the locks of this session with it";

/// What comes while nothing is asked.
enum Unasked {
    /// A line that begins with `*`.
    Event(String),
    /// The session has ended: with why.
    Lost(String),
}

enum AfterLine {
    Line,
    End,
}

struct Shell<'a> {
    server: &'a ServerArgs,
    /// None after it was lost, up to the next line.
    session: Option<ShellSession>,
    /// ^C, on a terminal.
    interrupt: Option<Signal>,
}

impl Shell<'_> {
    /// Resolves when an event comes, or when the session ends, while nothing is asked of it.
    ///
    /// Cancel-safe.
    async fn unasked(&mut self) -> Unasked {
        let Some(session) = &mut self.session else { return std::future::pending().await };
        // A server that closes a connection says why before it does.
        let mut why = String::new();
        while let Ok(line) = session.line().await {
            if is_event(&line) {
                return Unasked::Event(line);
            }
            why = format!("{}: ", visible(&line));
        }
        self.session = None;
        Unasked::Lost(format!("{why}{LOST}"))
    }

    /// Sends a line and shows the reply to it.
    ///
    /// Not cancel-safe: its caller never drops it.
    async fn perform(&mut self, line: &str) -> Result<AfterLine, Failure> {
        let session = if let Some(session) = &mut self.session {
            session
        } else {
            let session = ShellSession::open(self.server).await?;
            say(&format_args!("connected again: session {}, which holds no lock", session.id));
            self.session.insert(session)
        };
        let replied = match session.send(line).await {
            Ok(()) => session.show_reply(self.server, self.interrupt.as_mut()).await,
            Err(error) => Err(error.into()),
        };
        match replied {
            Ok(last) if last == "BYE" => Ok(AfterLine::End),
            Ok(_) => Ok(AfterLine::Line),
            Err(ReplyError::Output(error)) => {
                exit::when_written(Err(error))?;
                Ok(AfterLine::End)
            }
            Err(ReplyError::Lost) => {
                self.session = None;
                Err(Failure::unavailable(LOST))
            }
        }
    }
}

/// Why a reply is not shown to its end.
enum ReplyError {
    Lost,
    Output(io::Error),
}

impl From<io::Error> for ReplyError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

trait LineStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> LineStream for S {}

struct ShellSession {
    lines: Lines<BufReader<ReadHalf<Box<dyn LineStream>>>>,
    writer: WriteHalf<Box<dyn LineStream>>,
    id: u32,
}

impl ShellSession {
    /// Connects and logs in.
    ///
    /// Cancel-safe.
    async fn open(server: &ServerArgs) -> Result<Self, Failure> {
        // The client names what is wrong: another protocol at that port, a login that is needed.
        drop(server.connect().await?);
        let late = || Failure::unavailable(format_args!("no answer within {CONNECT_WITHIN:?}"));
        timeout(CONNECT_WITHIN, Self::start(server)).await.map_err(|_| late())?
    }

    /// Cancel-safe.
    async fn start(server: &ServerArgs) -> Result<Self, Failure> {
        let builder = server.builder(OWN)?;
        let (stream, login) = (builder.open_stream().await?, server.login()?);
        let (reader, writer) = split(Box::new(stream) as Box<dyn LineStream>);
        let mut session = Self { lines: BufReader::new(reader).lines(), writer, id: 0 };
        let lost = |_| Failure::unavailable(LOST);
        if let Some((user, password)) = login {
            let reply = session
                .ask(&format!("AUTH {} {}", written(&user), written(&password)))
                .await
                .map_err(lost)?;
            if reply != "1" {
                return Err(Failure::denied(reply));
            }
        }
        if let Some(introduction) = builder.introduction() {
            let reply = session.ask(introduction.trim_end()).await.map_err(lost)?;
            // A server with users wants a login first.
            if reply.starts_with("ERROR AUTH ") {
                return Err(Failure::denied(reply));
            }
            if reply != "1" {
                return Err(Failure::unavailable(reply));
            }
        }
        let hello = session.ask("HELLO").await.map_err(lost)?;
        let id = hello.split(' ').find_map(|field| field.strip_prefix("session=")?.parse().ok());
        session.id = id.ok_or_else(|| Failure::unavailable(hello))?;
        Ok(session)
    }

    /// The first words of all commands.
    ///
    /// Not cancel-safe: dropped, the rest of the reply would be taken for the next one.
    async fn commands(&mut self) -> io::Result<Vec<String>> {
        self.send("HELP").await?;
        let mut commands = Vec::new();
        loop {
            let row = self.line().await?;
            if !has_more_behind(&row) {
                break;
            }
            let word = row.split_whitespace().nth(1).unwrap_or_default();
            if !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                commands.push(word.to_owned());
            }
        }
        commands.dedup();
        Ok(commands)
    }

    /// Not cancel-safe, likewise.
    async fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(line).await?;
        self.line().await
    }

    /// Not cancel-safe: dropped, a part of the line may have been sent.
    async fn send(&mut self, line: &str) -> io::Result<()> {
        self.writer.write_all(format!("{line}\n").as_bytes()).await?;
        self.writer.flush().await
    }

    /// Cancel-safe.
    async fn line(&mut self) -> io::Result<String> {
        self.lines.next_line().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The next line that is not an event. Events are shown.
    ///
    /// Cancel-safe.
    async fn reply_line(&mut self) -> Result<String, ReplyError> {
        loop {
            let line = self.line().await?;
            if !is_event(&line) {
                return Ok(line);
            }
            print(&line).map_err(ReplyError::Output)?;
        }
    }

    /// Shows each line of the reply as it comes, and returns the last one. ^C cancels the wait for it, and nothing else.
    ///
    /// Not cancel-safe: its caller never drops it.
    async fn show_reply(
        &mut self,
        server: &ServerArgs,
        mut interrupt: Option<&mut Signal>,
    ) -> Result<String, ReplyError> {
        let wait = ShownWait { server, session: self.id, lock: None, verbose: false };
        let id = self.id;
        let mut first = Box::pin(wait.until(self.reply_line()));
        let mut line = loop {
            tokio::select! {
                line = &mut first => break line?,
                () = interrupted(interrupt.as_deref_mut()) => cancel_wait(server, id).await,
            }
        };
        drop(first);
        loop {
            print(&line).map_err(ReplyError::Output)?;
            if !has_more_behind(&line) {
                return Ok(line);
            }
            line = self.reply_line().await?;
        }
    }
}

/// Whether the server sends this unasked, between two replies (protocol.md, part 4).
fn is_event(line: &str) -> bool {
    line.starts_with("* ")
}

/// Whether this is a row of a list, behind which there are others, or its end (protocol.md, "Lists").
fn has_more_behind(line: &str) -> bool {
    let Some((word, _)) = line.split_once(' ') else { return false };
    word.bytes().all(|c| c.is_ascii_uppercase()) && !matches!(word, "ERROR" | "END" | "HELLO" | "KEEPALIVE")
}

/// Cancel-safe.
async fn interrupted(interrupt: Option<&mut Signal>) {
    match interrupt {
        Some(interrupt) => drop(interrupt.recv().await),
        None => std::future::pending().await,
    }
}

/// On a connection of its own: the session reads nothing while it waits.
///
/// Cancel-safe: dropped, the wait may go on.
async fn cancel_wait(server: &ServerArgs, session: u32) {
    let cancelled = async { server.connect().await?.cancel_wait(session).await.map_err(Failure::from) };
    if let Err(failure) = cancelled.await {
        say(&format_args!("the wait cannot be cancelled: {failure}"));
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}", visible(line)).and_then(|()| out.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_on_to_their_end() {
        for row in ["LOCK name=a mode=shared", "HELP usage: QUIT", "STATS sessions=1"] {
            assert!(has_more_behind(row), "{row}");
        }
        for last in
            ["END 3", "1", "NULL", "PONG", "ERROR SYNTAX x", "HELLO version=1", "KEEPALIVE left=25.000"]
        {
            assert!(!has_more_behind(last), "{last}");
        }
    }
}
