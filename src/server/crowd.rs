//! How many are in the house: connections and requests of all listeners together, and how near memory is to its end.
//!
//! Whoever comes when it is full is sent away at once and cheaply, so that those who are in are served (A14, A37).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::limits::Limits;
use super::refusals::Reason;
use crate::web::network_of;

/// What the listeners of one process share.
#[derive(Debug, Default)]
pub struct Crowd {
    most: ArcSwap<Most>,
    connections: Mutex<Connections>,
    requests: Requests,
    pressure: AtomicU8,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Most {
    /// Connections.
    pub connections: usize,
    /// Connections from one address, or from one IPv6 /64.
    pub connections_per_address: usize,
    /// Requests that are being answered.
    pub requests: usize,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// How near memory is to its end.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(super) enum Pressure {
    /// Far.
    None = 0,
    /// Connections are closed after the request that they are at.
    High = 1,
    /// No more requests than a few at a time.
    Full = 2,
}

#[derive(Debug, Default)]
struct Connections {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// On a cache line of its own, as every request of every core writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Requests(AtomicUsize);

impl Crowd {
    /// Nobody yet, and room for so many.
    pub fn new(most: Most) -> Arc<Self> {
        let crowd = Self::default();
        crowd.allow(most);
        Arc::new(crowd)
    }

    /// From now on there may be so many. Those who are in stay.
    pub fn allow(&self, most: Most) {
        self.most.store(Arc::new(most));
    }

    /// Lets a connection in, until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, limits: &Limits) -> Result<Entered, Reason> {
        let most = self.most.load();
        let network = network_of(peer);
        let is_proxy = limits.is_proxy(peer);
        let mut connections = self.connections();
        if connections.all >= most.connections {
            return Err(Reason::Connections);
        }
        let here = connections.by_network.entry(network).or_default();
        if *here >= most.connections_per_address && !is_proxy {
            if *here == 0 {
                connections.by_network.remove(&network);
            }
            return Err(Reason::Address);
        }
        *here += 1;
        connections.all += 1;
        drop(connections);
        Ok(Entered { crowd: Arc::clone(self), network })
    }

    /// Counts a request, whether or not there is room for it: [`end_request`](Self::end_request) goes with each.
    pub(super) fn begin_request(&self) -> Result<(), Reason> {
        let before = self.requests.0.fetch_add(1, Ordering::Relaxed);
        if before >= self.most.load().requests {
            return Err(Reason::Requests);
        }
        // memory that the allocator keeps for itself must not close the door for ever
        if before >= A_FEW && self.pressure() == Pressure::Full {
            return Err(Reason::Memory);
        }
        Ok(())
    }

    pub(super) fn end_request(&self) {
        self.requests.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests that are being answered, up to the end of their answers.
    pub fn requests(&self) -> usize {
        self.requests.0.load(Ordering::Relaxed)
    }

    pub(super) fn pressure(&self) -> Pressure {
        match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::High,
            _ => Pressure::Full,
        }
    }

    /// Whether it is another than before.
    pub(super) fn set_pressure(&self, pressure: Pressure) -> bool {
        self.pressure.swap(pressure as u8, Ordering::Relaxed) != pressure as u8
    }

    pub(super) fn most(&self) -> Most {
        **self.most.load()
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Most {
    /// Without any limit, for what stands apart.
    fn default() -> Self {
        Self { connections: usize::MAX, connections_per_address: usize::MAX, requests: usize::MAX, memory: None }
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Entered {
    crowd: Arc<Crowd>,
    network: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut connections = self.crowd.connections();
        connections.all -= 1;
        if let Some(here) = connections.by_network.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                connections.by_network.remove(&self.network);
            }
        }
    }
}

/// Requests at a time that are served however little memory is left.
const A_FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(connections: usize, connections_per_address: usize, requests: usize) -> Arc<Crowd> {
        Crowd::new(Most { connections, connections_per_address, requests, memory: None })
    }

    fn enter(crowd: &Arc<Crowd>, peer: &str) -> Result<Entered, Reason> {
        crowd.enter(
            peer.parse().unwrap(),
            &Limits { proxies: ["10.0.0.0/8".parse().unwrap()].into(), ..Limits::default() },
        )
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_leaves() {
        let crowd = crowd(3, 2, 1);
        let first = enter(&crowd, "192.0.2.1").unwrap();
        let _second = enter(&crowd, "::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(&crowd, "192.0.2.1").unwrap_err(), Reason::Address);
        let _third = enter(&crowd, "192.0.2.2").unwrap();
        assert_eq!(enter(&crowd, "192.0.2.3").unwrap_err(), Reason::Connections);
        drop(first);
        let _again = enter(&crowd, "192.0.2.1").unwrap();
        assert_eq!(crowd.connections().by_network.len(), 2);
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_a_proxy_is_many_clients() {
        let crowd = crowd(10, 1, 1);
        let _first = enter(&crowd, "2001:db8::1").unwrap();
        assert_eq!(enter(&crowd, "2001:db8::ffff:0:2").unwrap_err(), Reason::Address);
        let _other = enter(&crowd, "2001:db8:0:1::1").unwrap();
        let _proxies: Vec<_> = (0..3).map(|_| enter(&crowd, "10.1.2.3").unwrap()).collect();
    }

    #[test]
    fn nobody_is_remembered_who_was_not_let_in() {
        let crowd = crowd(10, 0, 1);
        assert_eq!(enter(&crowd, "192.0.2.1").unwrap_err(), Reason::Address);
        assert!(crowd.connections().by_network.is_empty());
    }

    #[test]
    fn requests_are_refused_past_the_most_and_when_memory_ends() {
        let crowd = crowd(1, 1, A_FEW + 2);
        crowd.set_pressure(Pressure::Full);
        for _ in 0..A_FEW {
            crowd.begin_request().unwrap();
        }
        assert_eq!(crowd.begin_request(), Err(Reason::Memory));
        crowd.set_pressure(Pressure::High);
        assert_eq!(crowd.begin_request(), Ok(()));
        assert_eq!(crowd.begin_request(), Err(Reason::Requests));
        (0..3).for_each(|_| crowd.end_request());
        assert_eq!(crowd.begin_request(), Ok(()));
    }
}
