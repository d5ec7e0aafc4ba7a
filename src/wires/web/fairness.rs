//! Fairness among connections: how much is read from one before it is the turn of others, and how many frames without a
//! request it may send.
//!
//! The library answers or handles many HTTP/2 frames by itself, as fast as they arrive, even before a login, and
//! without a pause in which others would be served. [`FrameLimit`] reads the frame headers before the library does: a
//! client that sends too many frames is cut off, and one that sends much takes turns. Over HTTP/1.1 the library
//! processes all requests that it has read without a pause: there a turn is a number of bytes. [`TimeSlice`] decides
//! when the next turn begins.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use atomic_waker::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
    time::Instant,
};

use super::sniff::PREFACE;

/// How many frames without a request may arrive at once. A client that reads a list of thousands of rows sends some
/// hundreds of window updates.
const BURST: u32 = 4_000;

/// How many more may arrive per second.
const FRAMES_PER_SECOND: u32 = 1_000;

/// How many more may arrive per frame of a request: its client sends window updates for the response and pings, and may
/// reset the stream.
const FRAMES_PER_REQUEST: u32 = 4;

/// A longer frame counts as several.
const FRAME_UNIT: u32 = 64;

/// The number of frames in a turn. It is far smaller than the local queue of a runtime thread (256 tasks): requests
/// that overflow the queue would start much later than they are read.
const TURN: usize = 64;

/// The number of HTTP/1.1 bytes that count as a frame: a turn is 1 kB, and most requests are shorter.
const BYTES_PER_FRAME: usize = 16;

/// The length of a gRPC message prefix. A shorter DATA frame is not part of a request.
const MIN_MESSAGE: u32 = 5;

/// The length of a frame header: length, kind, flags and stream.
const HEAD: usize = 9;

/// A stream that fails once its client has sent too many frames without a request, and that reads at most one turn at a
/// time.
#[derive(Debug)]
pub(super) struct FrameLimit<S> {
    stream: S,
    frames: Frames,
    slice: TimeSlice,
}

impl<S> FrameLimit<S> {
    pub(super) fn new(stream: S) -> (Self, TimeSlice) {
        let slice = TimeSlice::default();
        (Self { stream, frames: Frames::new(), slice: slice.clone() }, slice)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.slice.has_begun() {
            self.frames.since_turn = 0;
        }
        if self.frames.since_turn >= TURN {
            // The turn is over and there may be more to read: the connection asks for its next turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if matches!(self.frames.at, Position::Other) {
            self.slice.comes_last();
            let rest_of_turn = (TURN - self.frames.since_turn) * BYTES_PER_FRAME;
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(rest_of_turn.min(buf.remaining())));
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            let came = part.filled().len();
            buf.advance(came);
            self.frames.since_turn += came.div_ceil(BYTES_PER_FRAME);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.frames.take(&buf.filled()[before..]).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameLimit<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many HTTP/2 frames without a request (limit {FRAMES_PER_SECOND} per second)")]
struct TooManyFrames;

/// The position in the frames of a connection, and how many frames it may still send.
#[derive(Debug)]
struct Frames {
    at: Position,
    /// How many frames without a request may still arrive: a token bucket.
    left: u32,
    /// When the bucket was last refilled.
    since: Instant,
    /// How many frames were read in this turn.
    since_turn: usize,
}

#[derive(Debug)]
enum Position {
    /// This many bytes of the HTTP/2 preface have been read.
    Preface(usize),
    /// This many bytes of a frame header have been read.
    Head([u8; HEAD], usize),
    /// This many bytes of the frame's payload are still to be read.
    Payload(usize),
    /// The connection is HTTP/1.1.
    Other,
}

impl Frames {
    fn new() -> Self {
        Self { at: Position::Preface(0), left: BURST, since: Instant::now(), since_turn: 0 }
    }

    /// Counts the frames in bytes that were read.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), TooManyFrames> {
        while !bytes.is_empty() {
            match &mut self.at {
                Position::Other => return Ok(()),
                Position::Preface(came) => {
                    let taken = bytes.len().min(PREFACE.len() - *came);
                    let is_preface = PREFACE[*came..].starts_with(&bytes[..taken]);
                    *came += taken;
                    bytes = &bytes[taken..];
                    if !is_preface {
                        self.at = Position::Other;
                    } else if *came == PREFACE.len() {
                        self.at = Position::Head([0; HEAD], 0);
                    }
                }
                Position::Head(head, came) => {
                    let taken = bytes.len().min(HEAD - *came);
                    head[*came..*came + taken].copy_from_slice(&bytes[..taken]);
                    *came += taken;
                    bytes = &bytes[taken..];
                    if *came == HEAD {
                        let (length, kind) = (u32::from_be_bytes([0, head[0], head[1], head[2]]), head[3]);
                        self.at = Position::Payload(length as usize);
                        self.count(length, kind)?;
                    }
                }
                Position::Payload(left) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    bytes = &bytes[taken..];
                }
            }
            if matches!(self.at, Position::Payload(0)) {
                self.at = Position::Head([0; HEAD], 0);
            }
        }
        Ok(())
    }

    fn count(&mut self, length: u32, kind: u8) -> Result<(), TooManyFrames> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        self.since_turn += 1;
        if kind == HEADERS || kind == DATA && length >= MIN_MESSAGE {
            self.left = (self.left + FRAMES_PER_REQUEST).min(BURST);
            return Ok(());
        }
        let cost = 1 + length / FRAME_UNIT;
        if self.left < cost {
            self.refill();
        }
        self.left = self.left.checked_sub(cost).ok_or(TooManyFrames)?;
        Ok(())
    }

    fn refill(&mut self) {
        let more = self.since.elapsed().as_millis().saturating_mul(FRAMES_PER_SECOND.into()) / 1_000;
        self.since = Instant::now();
        self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(BURST)).min(BURST);
    }
}

/// The connection has run, and nothing has woken it since.
const IDLE: u8 = 0;
const RUNNING: u8 = 1;
/// It has been woken and will run again.
const WOKEN: u8 = 2;

/// The turns of a connection. Its task polls it with its own waker, to notice when the connection wakes itself: over
/// HTTP/1.1 it does so as long as it has requests, and the runtime would run it dozens of times before it polls the
/// network for others.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeSlice(Arc<SliceState>);

#[derive(Debug, Default)]
struct SliceState {
    /// A turn has begun, and the stream has not asked yet.
    is_new: AtomicBool,
    /// The connection continues only after others have run.
    is_last: AtomicBool,
    /// How many times in a row the connection has woken itself.
    again: AtomicU8,
    state: AtomicU8,
    task: AtomicWaker,
}

impl TimeSlice {
    /// Serves a connection, turn by turn.
    ///
    /// Cancel-safe if the connection is.
    pub(super) async fn serve<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        let waker = Waker::from(self.0.clone());
        poll_fn(|cx| {
            self.0.task.register(cx.waker());
            self.0.state.swap(RUNNING, Ordering::AcqRel);
            self.begin();
            let served = connection.as_mut().poll(&mut Context::from_waker(&waker));
            let ran = self.0.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if ran.is_ok() {
                self.0.again.store(0, Ordering::Relaxed);
            } else if served.is_pending() {
                // A single request wakes the connection once. Only more wake-ups mean that the connection keeps itself
                // busy.
                let again = self.0.again.load(Ordering::Relaxed).saturating_add(1);
                self.0.again.store(again, Ordering::Relaxed);
                if again > 1 && self.0.is_last.load(Ordering::Relaxed) {
                    // The runtime wakes a task that yields only after it has polled the network for others.
                    let _: Poll<()> = pin!(yield_now()).poll(cx);
                } else {
                    cx.waker().wake_by_ref();
                }
            }
            served
        })
        .await
    }

    fn begin(&self) {
        self.0.is_new.store(true, Ordering::Relaxed);
    }

    /// From now on the connection continues only after the runtime has polled the network for others. Not for HTTP/2:
    /// there each request has a task of its own, which would run before the connection, and responses would pile up.
    fn comes_last(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether a turn has begun since the last call.
    fn has_begun(&self) -> bool {
        self.0.is_new.swap(false, Ordering::Relaxed)
    }
}

impl Wake for SliceState {
    fn wake(self: Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
    };

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.resize(frame.len() + length, 0xff);
        frame
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        frames.take(PREFACE).unwrap();
        frames
    }

    /// How many of these it takes.
    fn taken(frames: &mut Frames, frame: &[u8]) -> u32 {
        let taken = (0..2 * BURST).take_while(|_| frames.take(frame).is_ok()).count();
        // The rest of the one that was too many.
        frames.take(&frame[HEAD..]).unwrap();
        taken.try_into().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_without_requests_are_rate_limited() {
        for kind in (2..=9).chain([0, 0x77]) {
            let (mut frames, frame) = (begun(), frame(kind, 4));
            assert_eq!(taken(&mut frames, &frame), BURST, "{kind}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(taken(&mut frames, &frame), FRAMES_PER_SECOND, "{kind}");
            tokio::time::advance(Duration::from_hours(1)).await;
            assert_eq!(taken(&mut frames, &frame), BURST, "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_frames_count_more() {
        assert_eq!(taken(&mut begun(), &frame(0x77, 16 * 1024 - 1)), BURST / 256);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_raise_the_frame_limit() {
        let mut frames = begun();
        assert_eq!(taken(&mut frames, &frame(8, 4)), BURST);
        let (headers, data) = (frame(1, 40), frame(0, 20));
        for _ in 0..10_000 {
            frames.take(&headers).unwrap();
            frames.take(&data).unwrap();
            (0..2 * FRAMES_PER_REQUEST).for_each(|_| frames.take(&frame(8, 4)).unwrap());
        }
        assert_eq!(frames.take(&frame(6, 8)), Err(TooManyFrames));
    }

    #[tokio::test(start_paused = true)]
    async fn frame_count_does_not_depend_on_read_boundaries() {
        let bytes = [PREFACE, &frame(4, 30), &frame(1, 300), &frame(6, 8), &frame(0, 0)].concat();
        for size in 1..bytes.len() {
            let mut frames = Frames::new();
            bytes.chunks(size).for_each(|part| frames.take(part).unwrap());
            // What brings room brings none where it is full.
            assert_eq!((frames.left, frames.since_turn), (BURST - 2, 4), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http_1_is_not_inspected() {
        let mut frames = Frames::new();
        for part in [&b"P"[..], b"RI /x HTTP/1.1\r\n\r\n", &[0; 10_000]] {
            frames.take(part).unwrap();
        }
        assert_eq!((frames.left, frames.since_turn), (BURST, 0));
    }

    /// A stream that gives so much at a time, and always at once.
    struct ChunkedStream<'a>(&'a [u8], usize);

    impl AsyncRead for ChunkedStream<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (part, rest) = self.0.split_at(self.1.min(buf.remaining()).min(self.0.len()));
            buf.put_slice(part);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    /// What one turn gives by reads into so much room, and whether it was the last.
    fn read_in_a_turn(limited: &mut FrameLimit<ChunkedStream<'_>>, room: usize) -> (Vec<u8>, bool) {
        let mut given = Vec::new();
        loop {
            let mut part = vec![0; room];
            let mut buf = ReadBuf::new(&mut part);
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            match Pin::new(&mut *limited).poll_read(cx, &mut buf) {
                Poll::Pending => return (given, false),
                Poll::Ready(read) => read.unwrap(),
            }
            if buf.filled().is_empty() {
                return (given, true);
            }
            given.extend_from_slice(buf.filled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http_1_takes_turns_and_loses_nothing() {
        const MOST: usize = TURN * BYTES_PER_FRAME;
        let sent = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(400);
        for size in [1, 15, 16, 17, 100, MOST - 1, MOST, MOST + 1, sent.len()] {
            for room in [1, 1_000, sent.len()] {
                let (mut limited, slice) = FrameLimit::new(ChunkedStream(&sent, size));
                // As what serves it does: the first bytes tell which HTTP it is.
                let mut given = vec![0; PREFACE.len().min(size)];
                let mut start = ReadBuf::new(&mut given);
                let cx = &mut Context::from_waker(std::task::Waker::noop());
                assert!(Pin::new(&mut limited).poll_read(cx, &mut start).is_ready());
                let mut turns = 0;
                loop {
                    slice.begin();
                    turns += 1;
                    let (part, is_last) = read_in_a_turn(&mut limited, room);
                    assert!(part.len() <= MOST, "{size} {room}: {}", part.len());
                    given.extend(part);
                    if is_last {
                        break;
                    }
                }
                assert!(given == sent, "{size} {room}");
                assert!(turns >= sent.len() / MOST, "{size} {room}: {turns}");
            }
        }
    }

    #[tokio::test]
    async fn self_waking_task_yields_to_others() {
        const ROUNDS: usize = 200;
        let (mut asks, mut answers) = tokio::net::UnixStream::pair().unwrap();
        let echo = tokio::spawn(async move {
            while let Ok(byte) = answers.read_u8().await {
                answers.write_u8(byte).await.unwrap();
            }
        });
        let rounds = tokio::spawn(async move {
            for _ in 0..ROUNDS {
                asks.write_u8(7).await.unwrap();
                asks.read_u8().await.unwrap();
            }
        });
        let mut turns = 0;
        let busy = poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if rounds.is_finished() { Poll::Ready(()) } else { Poll::Pending }
        });
        let slice = TimeSlice::default();
        slice.comes_last();
        slice.serve(pin!(busy)).await;
        rounds.await.unwrap();
        echo.await.unwrap();
        assert!(turns < 8 * ROUNDS, "{turns}");
    }

    #[tokio::test]
    async fn task_woken_by_others_goes_on() {
        let [come, was_there] = [(); 2].map(|()| Arc::new(Notify::new()));
        let (slice, comes, is_there) = (TimeSlice::default(), come.clone(), was_there.clone());
        let served = tokio::spawn(async move {
            slice
                .serve(pin!(async {
                    for _ in 0..100 {
                        comes.notified().await;
                        is_there.notify_one();
                    }
                }))
                .await;
        });
        for _ in 0..100 {
            come.notify_one();
            was_there.notified().await;
        }
        served.await.unwrap();
    }
}
