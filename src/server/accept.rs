//! Taking connections off a listener and putting them on workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::connection::Site;
use super::listener::{Accepted, Accepting};
use super::{Listener, Seat};

/// Accepts for one listener.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) site: Arc<Site>,
    pub(super) seats: Vec<Seat>,
    pub(super) tasks: TaskTracker,
}

impl Acceptor {
    /// Until the drain begins; then the place is free.
    pub(super) async fn run(self) {
        let listener = match self.listener.accepting() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(listener.name = %self.site.name(), %error, "the listener can't be watched");
                return;
            }
        };
        let hand = Hand { site: self.site, seats: self.seats, tasks: self.tasks };
        tokio::select! {
            biased;
            () = hand.site.drained() => {}
            () = hand.accept_all(&listener) => {}
        }
    }
}

/// What the loop needs besides the listener.
struct Hand {
    site: Arc<Site>,
    seats: Vec<Seat>,
    tasks: TaskTracker,
}

impl Hand {
    /// No error ends the loop: what fails is one connection, or the system is short of something for a while.
    async fn accept_all(&self, listener: &Accepting) {
        let mut pause = PAUSE;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = PAUSE;
                    self.place(stream, peer);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory (A37). The connection stays in the queue, so without a pause this
                    // would spin; what is closed meanwhile makes room.
                    tracing::warn!(listener.name = %self.site.name(), %error, "no connection can be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Puts the connection on the worker with the fewest, if there is room for it.
    fn place(&self, mut stream: Accepted, peer: SocketAddr) {
        let entered = match self.site.enter(peer) {
            Ok(entered) => entered,
            Err(refusal) => {
                // What the socket's buffer takes, and no waiting; where TLS is expected it would be noise.
                let _: io::Result<()> = refusal.map_or(Ok(()), |answer| stream.write(answer));
                return;
            }
        };
        let Some(seat) = self.seats.iter().min_by_key(|seat| seat.load.load(Ordering::Relaxed)) else { return };
        let seated = Seated::new(&seat.load);
        let site = Arc::clone(&self.site);
        seat.runtime.spawn(self.tasks.track_future(async move {
            let (_seated, _entered) = (seated, entered);
            if let Err(error) = site.serve(stream, peer).await {
                tracing::debug!(%error, "the connection can't be served");
            }
        }));
    }
}

/// A connection's place on a worker.
struct Seated(Arc<AtomicUsize>);

impl Seated {
    fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection went away while it waited to be accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
