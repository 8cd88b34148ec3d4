//! Upgraded connections: bytes both ways, until either side or their term ends, or nothing comes for too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

use super::term::{Entry, Term};

/// A client that has asked for an upgrade, and where it came in.
pub(super) struct Upgrade {
    pub(super) client: OnUpgrade,
    pub(super) entry: Entry,
}

/// Joins both sides once they have switched protocols, and cuts them at the end of their term, if they have one: a socket
/// must not outlive the login, token or certificate it was opened with. Nor does it outlive its use, whoever opened it: it
/// is cut when nothing went either way for as long as `idle` (A14), and when a reload has closed its listener
/// and requests under way would be cut too.
///
/// It is only started after the upstream's own 101, so bytes pipelined behind an upgrade that was refused never get
/// past the door (A4, CVE-2026-2833).
pub(super) fn join(upgrade: Upgrade, upstream: OnUpgrade, term: Option<Term>, idle: Duration) {
    let Upgrade { client, entry } = upgrade;
    tokio::spawn(async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "an upgrade was not completed"),
        };
        let moves = Arc::new(Moves { since: Instant::now(), last: AtomicU64::new(0) });
        let mut client = Watched { stream: TokioIo::new(client), moves: Arc::clone(&moves) };
        let mut upstream = TokioIo::new(upstream);
        tokio::select! {
            // either side closing is the ordinary end, and an error is how many clients close
            _ = copy_bidirectional(&mut client, &mut upstream) => {}
            () = ended(term) => tracing::info!("an upgraded connection was cut: who opened it is not vouched for any more"),
            () = closed(entry) => tracing::info!("an upgraded connection was cut: its listener was closed"),
            () = moves.ceased(idle) => tracing::debug!("an upgraded connection was cut, as nothing went either way"),
        }
    });
}

/// Waits for the end of the term; for ever where there is none.
async fn ended(term: Option<Term>) {
    match term {
        Some(term) => term.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits until the listener was closed, and for the time that requests under way have then.
async fn closed(entry: Entry) {
    tokio::time::sleep(entry.closed().await).await;
}

/// When something went last.
struct Moves {
    since: Instant,
    /// In milliseconds.
    last: AtomicU64,
}

impl Moves {
    fn note(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until nothing went for so long. The timer is set anew only when it rings.
    async fn ceased(&self, idle: Duration) {
        loop {
            let deadline = self.since + Duration::from_millis(self.last.load(Ordering::Relaxed)) + idle;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// One side: what goes either way goes through it.
struct Watched<S> {
    stream: S,
    moves: Arc<Moves>,
}

impl<S> Watched<S> {
    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.moves.note();
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
