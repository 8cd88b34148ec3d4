//! Counters of failed attempts: ever longer waits per name and per address, in bounded memory (A31).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::UserName;

/// Who failed how often.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Key, Failures>>);

/// Unknown names are counted as known ones are, or the wait would tell which exist.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Name(UserName),
    Address(IpAddr),
}

/// How many, as it was at the last of them. It drains with time: many people may share an address, and some mistype.
#[derive(Clone, Copy, Debug)]
struct Failures {
    level: f64,
    last: SystemTime,
}

impl Attempts {
    /// Counts an attempt as failed, unless one for this name or from this address has to wait yet: then it returns how
    /// long. Attempts that have to wait are not counted, so that an attacker can't lock a name for ever.
    pub(super) fn begin(&self, name: Option<&UserName>, from: IpAddr, now: SystemTime) -> Result<(), Duration> {
        let mut failures = self.lock();
        let keys = [Some(Key::Address(network(from))), name.cloned().map(Key::Name)];
        let wait = keys.iter().flatten().filter_map(|key| failures.get(key)?.wait(key, now)).max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for key in keys.into_iter().flatten() {
            if failures.len() >= CAPACITY && !failures.contains_key(&key) {
                make_room(&mut failures, now);
            }
            let level = failures.get(&key).map_or(0.0, |entry| entry.level(&key, now));
            failures.insert(key, Failures { level: level + 1.0, last: now });
        }
        Ok(())
    }

    /// Takes back what [`Attempts::begin`] counted: the name is clean again, the address has one failure less (or an
    /// attacker with one account of their own could clean the address between guesses at others).
    pub(super) fn succeeded(&self, name: &UserName, from: IpAddr) {
        let mut failures = self.lock();
        failures.remove(&Key::Name(name.clone()));
        if let Some(entry) = failures.get_mut(&Key::Address(network(from))) {
            entry.level -= 1.0;
        }
    }

    /// Takes back what [`Attempts::begin`] counted for an attempt that nobody looked at.
    pub(super) fn withdraw(&self, name: Option<&UserName>, from: IpAddr) {
        let mut failures = self.lock();
        for key in [Some(Key::Address(network(from))), name.cloned().map(Key::Name)].into_iter().flatten() {
            if let Some(entry) = failures.get_mut(&key) {
                entry.level -= 1.0;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// What is left of it. A clock that was set back drains nothing.
    fn level(&self, key: &Key, now: SystemTime) -> f64 {
        let passed = now.duration_since(self.last).unwrap_or_default();
        (self.level - passed.div_duration_f64(key.drain())).max(0.0)
    }

    /// How long from now until an attempt is looked at again.
    fn wait(&self, key: &Key, now: SystemTime) -> Option<Duration> {
        let beyond = self.level - key.free();
        if beyond < 0.0 {
            return None;
        }
        let wait = FIRST_WAIT.mul_f64(beyond.min(20.0).floor().exp2()).min(LONGEST_WAIT);
        let passed = now.duration_since(self.last).unwrap_or_default();
        wait.checked_sub(passed).filter(|left| !left.is_zero())
    }
}

impl Key {
    /// So many failures have no consequence.
    fn free(&self) -> f64 {
        match self {
            Self::Name(_) => 5.0,
            Self::Address(_) => 50.0,
        }
    }

    /// After so long one failure is forgotten.
    fn drain(&self) -> Duration {
        match self {
            Self::Name(_) => Duration::from_secs(15 * 60),
            Self::Address(_) => Duration::from_secs(2 * 60),
        }
    }
}

/// Drops what is forgotten anyway, or else the entry that has not been touched for longest.
fn make_room(failures: &mut HashMap<Key, Failures>, now: SystemTime) {
    failures.retain(|key, entry| entry.level(key, now) > 0.0);
    if failures.len() >= CAPACITY
        && let Some(oldest) = failures.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| key.clone())
    {
        failures.remove(&oldest);
    }
}

/// One subscriber has at least a /64 of IPv6: its addresses count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Some 100 guesses a day for a name that someone keeps guessing at, and never a lock that only an operator opens.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Names and addresses are the attacker's to choose: some 10 MB at most. To push one name out takes as many attempts,
/// each of which costs a password hash.
const CAPACITY: usize = 50_000;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::from_epoch_seconds;

    const START: u64 = 1_800_000_000;

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    /// A31: a day of guessing at one name from ever new addresses.
    #[test]
    fn a31_a_day_of_guesses_is_few() {
        let attempts = Attempts::default();
        let looked_at = (0..86_400u32)
            .filter(|second| {
                let from = IpAddr::V4(Ipv4Addr::from_bits(*second));
                let now = from_epoch_seconds(START + u64::from(*second));
                attempts.begin(Some(&name("alice")), from, now).is_ok()
            })
            .count();
        assert!(looked_at < 120, "{looked_at}");
    }

    #[test]
    fn a31_ever_new_names_from_one_place_are_few() {
        let attempts = Attempts::default();
        let place = |n: u32| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(n)));
        let now = from_epoch_seconds(START);
        let looked_at = (0..10_000).filter(|n| attempts.begin(Some(&name(&format!("u{n}"))), place(*n), now).is_ok());
        assert_eq!(looked_at.count(), 50);
        assert!(attempts.begin(Some(&name("u1")), IpAddr::V6(Ipv6Addr::LOCALHOST), now).is_ok());
    }

    #[test]
    fn people_who_share_an_address_may_mistype_now_and_then() {
        let attempts = Attempts::default();
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for minute in 0..24 * 60 {
            let now = from_epoch_seconds(START + minute * 130);
            assert_eq!(attempts.begin(Some(&name(&format!("u{}", minute % 40))), from, now), Ok(()));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_recent_stay() {
        let attempts = Attempts::default();
        for n in 0..CAPACITY as u32 + 10 {
            let from = IpAddr::V4(Ipv4Addr::from_bits(n));
            attempts.begin(None, from, from_epoch_seconds(START + u64::from(n) / 1000)).unwrap();
        }
        assert_eq!(attempts.lock().len(), CAPACITY);
        let last = Key::Address(IpAddr::V4(Ipv4Addr::from_bits(CAPACITY as u32 + 9)));
        assert!(attempts.lock().contains_key(&last));
    }

    #[test]
    fn success_cleans_the_name_but_not_the_address() {
        let attempts = Attempts::default();
        let (from, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), from_epoch_seconds(START));
        for n in 0..50 {
            attempts.begin(Some(&name(&format!("u{n}"))), from, now).unwrap();
        }
        assert!(attempts.begin(Some(&name("own")), from, now).is_err());
        attempts.succeeded(&name("u0"), from);
        attempts.begin(Some(&name("u0")), from, now).unwrap();
        assert!(attempts.begin(Some(&name("u0")), from, now).is_err());
    }
}
