//! Connections that can be used again: one pool a thread, so that taking one is a look into memory of our own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::census;
use super::lease::{Connection, Http1, Http2, Lease};
use super::target::Endpoint;

/// A connection to this address that is ready, the last used first: it is the likeliest to be still open.
pub(super) fn take(endpoint: &Endpoint, now: Instant) -> Option<Lease> {
    let taken = POOL.try_with(|pool| pool.borrow_mut().of.get_mut(&endpoint.id)?.take(now)).ok().flatten()?;
    Some(Lease::pooled(taken, endpoint.id))
}

/// Gives an idle HTTP/1 connection back. `id` is that of an address that [`open_for`] has made known.
pub(super) fn put(id: u64, connection: Http1) {
    let now = Instant::now();
    let put = |pool: &mut Pool| {
        if let Some(connections) = pool.of.get_mut(&id)
            && connections.idle.len() < MOST_IDLE
        {
            connections.idle.push(Idle { connection, since: now });
            connections.tell();
        }
        pool.is_to_be_swept()
    };
    if POOL.try_with(|pool| put(&mut pool.borrow_mut())).unwrap_or_default() {
        tokio::spawn(sweep(Sweeping));
    }
}

/// Adds a fresh HTTP/2 connection, for all requests of this thread to share.
pub(super) fn share(endpoint: &Endpoint, connection: Http2) {
    let now = Instant::now();
    let share = |pool: &mut Pool| {
        if let Some(connections) = pool.of.get_mut(&endpoint.id) {
            connections.shared.push(Shared { connection, used: now });
        }
        pool.is_to_be_swept()
    };
    if POOL.try_with(|pool| share(&mut pool.borrow_mut())).unwrap_or_default() {
        tokio::spawn(sweep(Sweeping));
    }
}

/// Makes an address known, and returns what is held while one opens a connection that others may wait to share.
pub(super) fn open_for(endpoint: &Arc<Endpoint>) -> Arc<Mutex<()>> {
    let gate = |pool: &mut Pool| {
        let known = pool.of.entry(endpoint.id).or_insert_with(|| Connections::of(endpoint));
        Arc::clone(&known.gate)
    };
    POOL.try_with(|pool| gate(&mut pool.borrow_mut())).unwrap_or_default()
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    of: HashMap<u64, Connections>,
    /// Whether a task is there that closes what is idle for too long.
    swept: bool,
}

/// Those to one address.
struct Connections {
    endpoint: Weak<Endpoint>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    gate: Arc<Mutex<()>>,
    /// How many are in `idle`, for who looks from elsewhere.
    told: Arc<census::Idle>,
}

struct Idle {
    connection: Http1,
    since: Instant,
}

struct Shared {
    connection: Http2,
    used: Instant,
}

impl Pool {
    /// Whether a sweeper has to be started.
    fn is_to_be_swept(&mut self) -> bool {
        !std::mem::replace(&mut self.swept, true)
    }

    /// Whether anything is left.
    fn sweep(&mut self, now: Instant) -> bool {
        self.of.retain(|_, connections| connections.endpoint.strong_count() > 0);
        self.of.values_mut().for_each(|connections| connections.sweep(now));
        self.of.values().any(|connections| !connections.idle.is_empty() || !connections.shared.is_empty())
    }
}

impl Connections {
    fn of(endpoint: &Arc<Endpoint>) -> Self {
        let (told, endpoint) = (endpoint.census.of_a_pool(), Arc::downgrade(endpoint));
        Self { endpoint, idle: Vec::new(), shared: Vec::new(), gate: Arc::default(), told }
    }

    fn tell(&self) {
        self.told.set(self.idle.len());
    }

    fn take(&mut self, now: Instant) -> Option<Connection> {
        let taken = self.take_idle(now);
        self.tell();
        taken.or_else(|| if self.shared.is_empty() { None } else { self.take_shared(now) })
    }

    fn take_idle(&mut self, now: Instant) -> Option<Connection> {
        while let Some(mut last) = self.idle.pop() {
            if now.duration_since(last.since) > AGE {
                self.idle.clear(); // the others are older
            } else if last.connection.is_ready() {
                return Some(Connection::Http1(last.connection));
            }
        }
        None
    }

    /// The first that has room, so that the last ones fall idle. Where none has, another is opened; past the most, they
    /// wait at the one with the fewest.
    fn take_shared(&mut self, now: Instant) -> Option<Connection> {
        self.shared.retain(|shared| shared.connection.is_open());
        let full = self.shared.len() >= MOST_SHARED;
        let with_room = self.shared.iter().position(|shared| shared.connection.has_room());
        let crowded = || self.shared.iter().enumerate().min_by_key(|(_, shared)| shared.connection.streams());
        let chosen = with_room.or_else(|| if full { crowded().map(|(i, _)| i) } else { None })?;
        let shared = self.shared.get_mut(chosen)?;
        shared.used = now;
        Some(Connection::Http2(shared.connection.stream()))
    }

    fn sweep(&mut self, now: Instant) {
        self.idle.retain_mut(|idle| now.duration_since(idle.since) <= AGE && idle.connection.is_ready());
        self.tell();
        self.shared.retain(|shared| {
            let connection = &shared.connection;
            connection.is_open() && (connection.streams() > 0 || now.duration_since(shared.used) <= AGE)
        });
    }
}

/// Closes what is idle for too long, and what belongs to upstreams that no generation refers to any more. It ends with
/// the last connection.
async fn sweep(sweeping: Sweeping) {
    let _sweeping = sweeping;
    while POOL.try_with(|pool| pool.borrow_mut().sweep(Instant::now())).unwrap_or_default() {
        sleep(AGE / 2).await;
    }
}

/// Says that a sweeper is there, until it ends in whatever way.
struct Sweeping;

impl Drop for Sweeping {
    fn drop(&mut self) {
        let _: Result<(), _> = POOL.try_with(|pool| pool.borrow_mut().swept = false); // or the thread is ending
    }
}

/// Idle connections to one address on one worker; nginx's usual `keepalive` is between 32 and 256.
const MOST_IDLE: usize = 256;
/// HTTP/2 connections to one address on one worker: with [`Http2::has_room`] for a thousand requests at once.
const MOST_SHARED: usize = 16;
/// Shorter than the 60 s after which most servers and load balancers close, so that we mostly close first.
const AGE: Duration = Duration::from_secs(50);
