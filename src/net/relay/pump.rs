//! Passes the bytes of one connection on, both ways, without a buffer while nothing moves.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use getlockd_proto::keepalive::Keepalive;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::hop::{self, Hop};
use crate::net::{
    Socket,
    guarded::close_at_end,
    silence::{Liveness, SilenceWatch, is_silent},
};

/// The most bytes that one read takes. The buffer is on the stack.
const READ: usize = 16 * 1024;

/// How long a client may stay once the leader has closed the connection.
const LINGER: Duration = Duration::from_secs(2);

/// A relayed connection, as a future that resolves when it has ended.
#[derive(Debug)]
pub(super) struct Pump {
    client: Socket,
    leader: Hop,
    to_leader: Flow,
    to_client: Flow,
    keepalive: Keepalive,
    /// When something came from the client.
    heard: Instant,
    /// Present while something is written to a client that may have vanished.
    watch: Option<Box<SilenceWatch>>,
    linger: Option<Pin<Box<Sleep>>>,
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// What was read and is not written yet. Nothing more is read meanwhile.
    rest: BytesMut,
    state: FlowState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FlowState {
    #[default]
    Open,
    /// The end has come, and is not passed on yet.
    Ending,
    Ended,
    /// The other end takes nothing more.
    Refused,
}

/// Why a flow ends before its end.
#[derive(Debug)]
enum Broken {
    Read,
    Write,
}

/// What one step of a flow has moved.
#[derive(Default)]
struct Moved {
    read: bool,
    wrote: bool,
}

impl Pump {
    pub(super) fn new(client: Socket, leader: Hop, keepalive: Keepalive) -> Self {
        let (to_leader, to_client) = (Flow::default(), Flow::default());
        Self {
            client,
            leader,
            to_leader,
            to_client,
            keepalive,
            heard: Instant::now(),
            watch: None,
            linger: None,
        }
    }

    /// Neither end may take what it has got so far for all.
    fn reset(&self) {
        hop::reset(&self.leader);
        let _ = SockRef::from(self.client.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Ready if the client is gone while something is written to it: the kernel alone would measure the wrong time.
    fn poll_client(&mut self, cx: &mut Context<'_>, moved: &Moved) -> Poll<()> {
        let keepalive = self.keepalive;
        let begin = |is_stalled| Some(Box::new(SilenceWatch::begin(keepalive, is_stalled)));
        let is_stalled = self.watch.as_ref().is_some_and(|watch| watch.is_stalled());
        if !self.to_client.rest.is_empty() {
            match &mut self.watch {
                Some(watch) => watch.mark_stalled(),
                None => self.watch = begin(true),
            }
        } else if is_stalled {
            // The kernel may have taken the rest although the client is gone.
            self.watch = begin(false);
            if keepalive.limit_unacknowledged(self.client.tcp()).is_err() {
                return Poll::Ready(());
            }
        } else if moved.wrote
            && self.watch.is_none()
            && self.heard.elapsed() > keepalive.0 / 30
            && is_silent(self.client.tcp(), keepalive)
        {
            self.watch = begin(false);
        }
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        match ready!(watch.poll(cx, self.client.tcp())) {
            Liveness::Gone => Poll::Ready(()),
            Liveness::Heard => {
                self.watch = None;
                Poll::Pending
            }
        }
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut moved = Moved::default();
        let to_client = this.to_client.poll(cx, &mut this.leader, &mut this.client, &mut moved);
        let wrote = std::mem::take(&mut moved).wrote;
        let to_leader = this.to_leader.poll(cx, &mut this.client, &mut this.leader, &mut moved);
        if moved.read {
            this.heard = Instant::now();
        }
        match (to_client, to_leader) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(Broken::Read))) => {
                this.reset();
                return Poll::Ready(());
            }
            // What the leader has said last is still passed on.
            (to_client, Poll::Ready(Err(Broken::Write))) => {
                this.to_leader.state = FlowState::Refused;
                if to_client.is_ready() {
                    this.reset();
                    return Poll::Ready(());
                }
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                if this.to_leader.state == FlowState::Refused {
                    this.reset();
                }
                return Poll::Ready(());
            }
            (Poll::Ready(Ok(())), Poll::Pending) => {
                let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                if linger.as_mut().poll(cx).is_ready() {
                    hop::reset(&this.leader);
                    // The kernel would repeat the last words of a leader for longer than they are true.
                    close_at_end(&SockRef::from(this.client.tcp()));
                    return Poll::Ready(());
                }
            }
            (Poll::Pending, _) => {}
        }
        if this.poll_client(cx, &Moved { wrote, ..moved }).is_ready() {
            this.reset();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Flow {
    /// Moves what can be moved. Ready when the end is passed on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        moved: &mut Moved,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if matches!(self.state, FlowState::Ended | FlowState::Refused) {
                return Poll::Ready(Ok(()));
            }
            while !self.rest.is_empty() {
                let written = ready!(write(to, cx, &self.rest))?;
                moved.wrote = true;
                self.rest.advance(written);
            }
            self.rest = BytesMut::new();
            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Broken::Write)?;
            if self.state == FlowState::Ending {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Broken::Write)?;
                self.state = FlowState::Ended;
                return Poll::Ready(Ok(()));
            }
            ready!(self.pass(cx, from, to, moved))?;
        }
    }

    /// One read, and one write of it.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        moved: &mut Moved,
    ) -> Poll<Result<(), Broken>> {
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(|_| Broken::Read)?;
        let read = read.filled();
        if read.is_empty() {
            self.state = FlowState::Ending;
            return Poll::Ready(Ok(()));
        }
        moved.read = true;
        let written = match write(to, cx, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        moved.wrote |= written > 0;
        self.rest.extend_from_slice(&read[written..]);
        Poll::Ready(Ok(()))
    }
}

fn write(
    to: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<Result<usize, Broken>> {
    Pin::new(to).poll_write(cx, bytes).map(|written: io::Result<usize>| match written {
        Ok(0) | Err(_) => Err(Broken::Write),
        Ok(written) => Ok(written),
    })
}
