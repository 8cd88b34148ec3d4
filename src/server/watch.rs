//! What a connection is waiting for, and how long it may (A14).
//!
//! hyper has a timer for heads only, which runs while a connection is idle too, and is made anew for each request. Here
//! the stream and the service say where they are, and one timer a connection is looked at after each poll. It is set
//! anew only when it rings or is needed earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::Crowd;
use super::limits::Limits;
use super::refusals::Reason;
use crate::clock::Alarm;

/// What the parts of one connection tell each other. They run on one thread, so nothing here is ever contended but the
/// crowd, in which its requests count.
#[derive(Debug)]
pub(super) struct Watch {
    crowd: Arc<Crowd>,
    stage: AtomicU8,
    /// Whether the stream has refused what came (A3, A13).
    refused: AtomicBool,
    /// Whether hyper wants more than there is to read, or can't write.
    read_blocked: AtomicBool,
    write_blocked: AtomicBool,
    heads: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    /// Requests that have reached the service.
    requests: AtomicU32,
    /// Requests whose answer has not been passed on whole.
    in_flight: AtomicU32,
    /// Answers of which a piece waits for the client's window.
    stuck: AtomicU32,
    /// Who reads after an upgrade request, until it is answered.
    undecided: AtomicWaker,
    /// Told when the stream is closed.
    closed: Notify,
}

/// Where the stream is. Between requests or with HTTP/2, where only the service knows, it is the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Stage {
    Between = 0,
    Head = 1,
    Body = 2,
    Undecided = 3,
    Tunnel = 4,
    Closing = 5,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wait {
    /// For us.
    Nothing,
    /// For the first request.
    FirstByte,
    /// For the next request.
    Request,
    /// For the rest of a head.
    Head,
    /// For the rest of a request's body.
    Body,
    /// For the client to read.
    Reader,
    /// For the client to close.
    Close,
}

/// What to do about a connection that has waited long enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rung {
    /// Give its buffers back.
    Park,
    /// End it.
    Over(Wait),
}

impl Wait {
    /// Those for which a connection is cut.
    pub(super) const CUT: [Self; 5] = [Self::FirstByte, Self::Head, Self::Body, Self::Reader, Self::Close];

    /// The word for it in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::FirstByte => "first_byte",
            Self::Request => "request",
            Self::Head => "head",
            Self::Body => "body",
            Self::Reader => "reader",
            Self::Close => "close",
        }
    }
}

impl Watch {
    pub(super) fn new(crowd: Arc<Crowd>) -> Self {
        Self {
            crowd,
            stage: AtomicU8::new(Stage::Between as u8),
            refused: AtomicBool::default(),
            read_blocked: AtomicBool::default(),
            write_blocked: AtomicBool::default(),
            heads: AtomicU32::default(),
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            requests: AtomicU32::default(),
            in_flight: AtomicU32::default(),
            stuck: AtomicU32::default(),
            undecided: AtomicWaker::new(),
            closed: Notify::new(),
        }
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) fn set_stage(&self, stage: Stage, heads: u32) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        self.heads.store(heads, Ordering::Relaxed);
    }

    /// From now on the stream is another protocol's, if a request has asked for that.
    pub(super) fn open_tunnel(&self) -> bool {
        let asked = self.is(Stage::Undecided);
        if asked {
            self.stage.store(Stage::Tunnel as u8, Ordering::Relaxed);
            self.undecided.wake();
        }
        asked
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.is(Stage::Tunnel)
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// A request has reached the service; an error where there is no room for it.
    pub(super) fn begin_request(&self) -> Result<(), Reason> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.crowd.begin_request()
    }

    /// Requests that have reached the service.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether nothing of this connection is anywhere but in the stream: every request that came has been handed over and
    /// answered, the answers have been written, and there is nothing to read.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is(Stage::Between)
            && !self.is_in_flight()
            && self.read_blocked.load(Ordering::Relaxed)
            && !self.write_blocked.load(Ordering::Relaxed)
            && self.heads.load(Ordering::Relaxed) == self.requests()
    }

    /// Its answer has been passed on, or nobody wants it any more.
    pub(super) fn end_request(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.crowd.end_request();
        if self.is(Stage::Undecided) {
            self.undecided.wake();
        }
    }

    /// A piece of an answer waits, or no longer does.
    pub(super) fn set_stuck(&self, stuck: bool) {
        if stuck {
            self.stuck.fetch_add(1, Ordering::Relaxed);
        } else {
            self.stuck.fetch_sub(1, Ordering::Relaxed);
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn wake_when_decided(&self, cx: &Context<'_>) {
        self.undecided.register(cx.waker());
    }

    pub(super) fn note_read(&self, bytes: Option<usize>) {
        self.read_blocked.store(bytes.is_none(), Ordering::Relaxed);
        if let Some(bytes) = bytes {
            self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn note_write(&self, blocked: bool) {
        self.write_blocked.store(blocked, Ordering::Relaxed);
        if !blocked {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn note_flush(&self, blocked: bool) {
        self.write_blocked.store(blocked, Ordering::Relaxed);
    }

    pub(super) fn note_closed(&self) {
        self.closed.notify_one();
    }

    /// Waits until the stream is closed, by whoever holds it.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// What it waits for, and a number that changes when it moves.
    /// `pace` is the bytes that count as a move of a body.
    fn wait(&self, pace: u64) -> (Wait, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stage = self.stage.load(Ordering::Relaxed);
        if stage == Stage::Closing as u8 && !self.is_in_flight() {
            (Wait::Close, 0)
        } else if stage == Stage::Tunnel as u8 {
            (Wait::Nothing, 0)
        } else if self.write_blocked.load(Ordering::Relaxed) || self.stuck.load(Ordering::Relaxed) > 0 {
            (Wait::Reader, count(&self.sent))
        } else if stage == Stage::Body as u8 && self.read_blocked.load(Ordering::Relaxed) {
            // a byte now and then is no progress
            (Wait::Body, count(&self.received) / pace.max(1))
        } else if self.is_in_flight() {
            (Wait::Nothing, 0)
        } else if stage == Stage::Head as u8 {
            (Wait::Head, self.heads.load(Ordering::Relaxed).into())
        } else if stage == Stage::Between as u8 {
            // by heads and not by bytes: an empty line now and then is no request (RFC 9112 §2.2)
            let requests = self.requests();
            (if requests == 0 { Wait::FirstByte } else { Wait::Request }, requests.into())
        } else {
            (Wait::Nothing, 0)
        }
    }
}

/// Rings when a connection has waited too long.
#[derive(Debug)]
pub(super) struct Timer {
    limits: Arc<Limits>,
    /// What it waits for now, and since when.
    wait: (Wait, u64),
    since: Instant,
    /// What it has waited for a body before, and for which piece: between two bytes it waits for us now and then, and
    /// each would be a new beginning.
    waited: (u64, Duration),
    alarm: Alarm,
}

impl Timer {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        let nothing = (Wait::Nothing, 0);
        Self { limits, wait: nothing, since: Instant::now(), waited: (0, Duration::ZERO), alarm: Alarm::default() }
    }

    /// Ready with what is to be done about a wait in vain. Only who `may_park` is told to.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch, may_park: bool) -> Poll<Rung> {
        let wait = watch.wait(self.limits.body_bytes);
        if wait != self.wait {
            self.turn_to(wait);
        }
        let limit = match wait.0 {
            Wait::Nothing => return Poll::Pending,
            Wait::FirstByte => self.limits.first_byte,
            Wait::Request => self.limits.idle,
            Wait::Head => self.limits.head,
            Wait::Body => self.limits.body.saturating_sub(self.waited.1),
            Wait::Reader => self.limits.body,
            Wait::Close => LINGER,
        };
        if may_park && self.limits.park < limit && watch.is_at_rest() {
            return self.alarm.poll(cx, self.since + self.limits.park).map(|()| Rung::Park);
        }
        self.alarm.poll(cx, self.since + limit).map(|()| Rung::Over(wait.0))
    }

    fn turn_to(&mut self, wait: (Wait, u64)) {
        let before = std::mem::replace(&mut self.wait, wait);
        if wait.0 == Wait::Nothing && before.0 != Wait::Body {
            return; // the usual case, which needs no clock
        }
        let now = Instant::now();
        if before.0 == Wait::Body {
            self.waited.1 += now.duration_since(self.since);
        }
        if wait.0 == Wait::Body && wait.1 != self.waited.0 {
            self.waited = (wait.1, Duration::ZERO);
        }
        self.since = now;
    }
}

/// For the client to read our last answer and close.
const LINGER: Duration = Duration::from_secs(2);
