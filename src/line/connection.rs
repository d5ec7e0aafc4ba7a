//! One connection of the line wire, from its first byte to its end.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    task::{Poll, ready},
};

use tokio_util::codec::{Decoder, Encoder};

use super::{
    Codec, Hello, Request, Response,
    error::{Refusal, Untrusted},
};
use crate::{
    command::{Answer, Command, Ending},
    net::{Burst, MAX_UNSENT},
    session::{Progress, Session, Waiting},
};

/// Why a connection ends.
#[derive(Debug)]
enum Over {
    /// The client has gone.
    Left,
    /// QUIT.
    Quit,
    /// What it sent is no line protocol.
    Untrusted(Untrusted),
    /// The server ends it.
    Ended(Ending),
}

impl From<Untrusted> for Over {
    fn from(untrusted: Untrusted) -> Self {
        Self::Untrusted(untrusted)
    }
}

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self::Left
    }
}

impl From<Ending> for Over {
    fn from(ending: Ending) -> Self {
        Self::Ended(ending)
    }
}

/// Serves a connection until its client leaves, or is made to.
///
/// Cancel-safe: dropped, it frees what the session holds and closes the socket.
pub async fn serve(io: Burst, session: Session) {
    let mut connection = Connection { io, session, codec: Codec::default() };
    let Err(over) = connection.run().await;
    connection.end(over).await;
}

/// Tells a client that there is no place for it.
pub async fn refuse(mut io: Burst, max_connections: usize) {
    let _ = Codec::default().encode(Response::Full(max_connections), &mut io.output);
    io.close().await;
}

struct Connection {
    io: Burst,
    session: Session,
    codec: Codec,
}

impl Connection {
    async fn run(&mut self) -> Result<Infallible, Over> {
        loop {
            while let Some(request) = self.codec.decode(&mut self.io.input)? {
                self.respond(request).await?;
                if let Some(ending) = self.session.ending() {
                    return Err(ending.into());
                }
                if self.io.output.len() >= MAX_UNSENT {
                    self.flush().await?;
                }
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    async fn respond(&mut self, request: Result<Request, Refusal>) -> Result<(), Over> {
        let response = match request {
            Ok(Request::Run(command)) => Response::Answer(self.answer(command).await?),
            Ok(Request::Ping) => Response::Pong,
            Ok(Request::Hello) => {
                Response::Hello(Hello { id: self.session.id(), max_locks: self.session.max_locks() })
            }
            Ok(Request::Help(verb)) => Response::Help(verb),
            Ok(Request::Quit) => return Err(Over::Quit),
            Err(refusal) => Response::Refused(refusal),
        };
        Ok(self.codec.encode(response, &mut self.io.output)?)
    }

    async fn answer(&mut self, command: Command) -> Result<Answer, Over> {
        match self.session.start(command) {
            Progress::Done(answer) => Ok(answer),
            // Boxed: a wait is rare and long, and its state would stand in every idle connection.
            Progress::Waiting(waiting) => Box::pin(wait(&mut self.io, waiting)).await,
            Progress::Killing(killing) => Ok(Box::pin(killing.finish()).await?),
        }
    }

    /// Waits for more input, or for the end of the session.
    async fn fill(&mut self) -> Result<(), Over> {
        poll_fn(|cx| match self.io.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Over::Left)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Pending => self.session.handle().poll_ended(cx).map(|ending| Err(ending.into())),
        })
        .await
    }

    /// Sends the replies, unless the session ends before the client takes them.
    async fn flush(&mut self) -> Result<(), Over> {
        poll_fn(|cx| match self.io.poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Over::from)),
            Poll::Pending => Poll::Ready(Err(ready!(self.session.handle().poll_ended(cx)).into())),
        })
        .await
    }

    /// Frees what the session holds, then says why, to a client that is still there.
    async fn end(self, over: Over) {
        let Self { mut io, session, mut codec } = self;
        let (id, holds) = (session.id(), session.holds());
        drop(session);
        tracing::debug!(id = id.0, holds, ?over, "connection ends");
        let last = match over {
            Over::Left => return,
            Over::Quit => Response::Bye,
            Over::Untrusted(untrusted) => Response::Untrusted(untrusted),
            Over::Ended(ending) => Response::Ended(ending),
        };
        let _ = codec.encode(last, &mut io.output);
        Box::pin(io.close()).await;
    }
}

/// Waits for a lock, for as long as the client is there.
async fn wait(io: &mut Burst, waiting: Waiting<'_>) -> Result<Answer, Over> {
    let finish = pin!(waiting.finish());
    tokio::select! {
        biased;
        answer = finish => Ok(answer?),
        () = io.hung_up() => Err(Over::Left),
    }
}
