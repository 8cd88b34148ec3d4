//! How often: so many requests of one client or person in so much time, and a while to wait for those who ask for more.
//!
//! Each has a bucket that fills steadily and is emptied by asking (the generic cell rate algorithm: a bucket is one time,
//! at which it will be full again). Buckets lie in a table of a fixed size, so that a flood of addresses costs others
//! their fullness at worst, and never memory.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer};

use crate::clock::duration_text;
use crate::web::network_of;

/// `{ requests = 100, per = "1s", burst = 200 }`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many, steadily.
    pub requests: u32,
    /// In how much time.
    #[serde(deserialize_with = "duration_text")]
    pub per: Duration,
    /// How many at once after a pause; 0 stands for `requests`.
    #[serde(default)]
    pub burst: u32,
}

/// `[limits.rate]`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Of one client: an IPv4 address, or an IPv6 /64.
    #[serde(deserialize_with = "optional_rate")]
    pub per_address: Option<Rate>,
    /// Of one person or service, wherever they are.
    #[serde(deserialize_with = "optional_rate")]
    pub per_identity: Option<Rate>,
    /// Of one client, for logins: those that begin, and what lies under `/.claviger/`.
    #[serde(deserialize_with = "optional_rate")]
    pub login: Option<Rate>,
}

/// All rates of a config, with their buckets.
#[derive(Debug)]
pub struct Rates {
    settings: RateSettings,
    per_address: Option<Buckets>,
    per_identity: Option<Buckets>,
    login: Option<Buckets>,
}

/// Somebody asked for more than they may.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("more requests than {limit} allows")]
pub struct TooMany {
    /// The key of the rate: `per_address`.
    pub limit: &'static str,
    /// When there is room for one again.
    pub retry_after: Duration,
}

impl Rates {
    /// The keys of all there are.
    pub const LIMITS: [&str; 3] = ["per_address", "per_identity", "login"];

    /// Full buckets for everybody.
    pub fn new(settings: RateSettings) -> Arc<Self> {
        let buckets = |limit, rate: Option<Rate>| rate.map(|rate| Buckets::new(limit, rate));
        Arc::new(Self {
            settings,
            per_address: buckets("per_address", settings.per_address),
            per_identity: buckets("per_identity", settings.per_identity),
            login: buckets("login", settings.login),
        })
    }

    /// The rates of a new config: the buckets stay as they are where nothing else is asked for.
    pub fn renew(self: &Arc<Self>, settings: RateSettings) -> Arc<Self> {
        if settings == self.settings { Arc::clone(self) } else { Self::new(settings) }
    }

    /// Takes one of the client's requests.
    ///
    /// # Errors
    /// The client has none left.
    pub fn take_address(&self, client: IpAddr, now: SystemTime) -> Result<(), TooMany> {
        self.per_address.as_ref().map_or(Ok(()), |buckets| buckets.take(network_of(client), now))
    }

    /// Takes one of the client's requests for a door of ours.
    ///
    /// # Errors
    /// The client has none left.
    pub fn take_login(&self, client: IpAddr, now: SystemTime) -> Result<(), TooMany> {
        self.login.as_ref().map_or(Ok(()), |buckets| buckets.take(network_of(client), now))
    }

    /// Takes one of somebody's requests: whoever `identity` is equal for is one.
    ///
    /// # Errors
    /// They have none left.
    pub fn take_identity(&self, identity: Option<impl Hash>, now: SystemTime) -> Result<(), TooMany> {
        match (&self.per_identity, identity) {
            (Some(buckets), Some(identity)) => buckets.take(identity, now),
            _ => Ok(()),
        }
    }
}

impl Default for RateSettings {
    fn default() -> Self {
        // a login takes two or three; an office behind one address may come in at once
        let login = Rate { requests: 20, per: Duration::from_secs(1), burst: 1000 };
        Self { per_address: None, per_identity: None, login: Some(login) }
    }
}

/// A bucket for everybody, in a table.
struct Buckets {
    limit: &'static str,
    /// From one request to the next, in nanoseconds; and how far ahead of that a burst may be.
    interval: u64,
    ahead: u64,
    /// Nobody can choose what to share a set with.
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
}

/// Where a name may be. A name is its hash: that two are equal is as likely as guessing a key of 64 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Set([Bucket; WAYS]);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    name: u64,
    /// When it will be full, in nanoseconds since the epoch.
    full_at: u64,
}

impl Buckets {
    fn new(limit: &'static str, rate: Rate) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval = per / u64::from(rate.requests.max(1));
        let burst = if rate.burst == 0 { rate.requests } else { rate.burst };
        let ahead = interval.saturating_mul(u64::from(burst.max(1) - 1));
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { limit, interval, ahead, hasher: RandomState::new(), sets }
    }

    fn take(&self, name: impl Hash, now: SystemTime) -> Result<(), TooMany> {
        let name = self.hasher.hash_one(name);
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let Some(set) = self.sets.get(usize::try_from(name).unwrap_or_default() % SETS) else { return Ok(()) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = set.bucket(name).map_or(0, |bucket| bucket.take(now, self.interval, self.ahead));
        drop(set);
        match wait {
            0 => Ok(()),
            wait => Err(TooMany { limit: self.limit, retry_after: Duration::from_nanos(wait) }),
        }
    }
}

impl Set {
    /// The name's bucket, in place of the fullest where it has none: who that was loses nothing, or the least.
    fn bucket(&mut self, name: u64) -> Option<&mut Bucket> {
        let place = self.0.iter().position(|bucket| bucket.name == name);
        match place {
            Some(place) => self.0.get_mut(place),
            None => {
                let fullest = self.0.iter_mut().min_by_key(|bucket| bucket.full_at)?;
                *fullest = Bucket { name, full_at: 0 };
                Some(fullest)
            }
        }
    }
}

impl Bucket {
    /// How long to wait, in nanoseconds; 0 where there was one to take.
    fn take(&mut self, now: u64, interval: u64, ahead: u64) -> u64 {
        // a clock that was set back must not lock anybody out
        let full_at = self.full_at.min(now.saturating_add(ahead).saturating_add(interval)).max(now);
        let early = (full_at - now).saturating_sub(ahead);
        if early == 0 {
            self.full_at = full_at.saturating_add(interval);
        }
        early
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A rate, or `"off"`.
fn optional_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected { requests = 100, per = \"1s\" }, perhaps with a `burst`, or \"off\"")]
    enum Written {
        Rate(Rate),
        Off(Off),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Off {
        Off,
    }
    match Written::deserialize(deserializer)? {
        Written::Off(Off::Off) => Ok(None),
        Written::Rate(rate) if rate.requests == 0 => Err(serde::de::Error::custom("`requests` is 0; expected \"off\"")),
        Written::Rate(rate) if rate.per.is_zero() => Err(serde::de::Error::custom("`per` is no time at all")),
        Written::Rate(rate) => Ok(Some(rate)),
    }
}

/// 16,384 buckets, of 16 bytes each.
const SETS: usize = 2048;
const WAYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(settings: &str) -> Arc<Rates> {
        Rates::new(toml::from_str(settings).unwrap())
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000_000) + Duration::from_millis(millis)
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_burst_then_a_steady_flow() {
        let rates = rates("per_address = { requests = 10, per = \"1s\", burst = 3 }");
        for _ in 0..3 {
            rates.take_address(ONE, at(0)).unwrap();
        }
        let refused = rates.take_address(ONE, at(0)).unwrap_err();
        assert_eq!(refused, TooMany { limit: "per_address", retry_after: Duration::from_millis(100) });
        rates.take_address(TWO, at(0)).unwrap();
        assert!(rates.take_address(ONE, at(99)).is_err());
        rates.take_address(ONE, at(100)).unwrap();
        assert!(rates.take_address(ONE, at(100)).is_err());
        for _ in 0..3 {
            rates.take_address(ONE, at(10_000)).unwrap();
        }
        assert!(rates.take_address(ONE, at(10_000)).is_err());
    }

    #[test]
    fn a_rate_without_a_burst_has_its_requests_at_once() {
        let rates = rates("per_identity = { requests = 2, per = \"1m\" }");
        for _ in 0..2 {
            rates.take_identity(Some(("corp", "alice")), at(0)).unwrap();
        }
        assert!(rates.take_identity(Some(("corp", "alice")), at(29_999)).is_err());
        rates.take_identity(Some(("corp", "alice")), at(30_000)).unwrap();
        rates.take_identity(Some(("other", "alice")), at(0)).unwrap();
        rates.take_identity(None::<()>, at(0)).unwrap();
    }

    #[test]
    fn one_ipv6_client_is_its_64() {
        let rates = rates("per_address = { requests = 1, per = \"1s\" }");
        let take = |address: &str| rates.take_address(address.parse().unwrap(), at(0)).is_ok();
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
        assert!(take("192.0.2.9") && !take("::ffff:192.0.2.9"));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rates = rates("per_address = { requests = 1, per = \"1s\" }");
        rates.take_address(ONE, at(3_600_000)).unwrap();
        assert!(rates.take_address(ONE, at(0)).unwrap_err().retry_after <= Duration::from_secs(1));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory_and_does_not_free_who_is_limited() {
        let rates = rates("per_address = { requests = 1, per = \"1h\", burst = 2 }");
        for _ in 0..2 {
            rates.take_address(ONE, at(0)).unwrap();
        }
        // as many others as a fifth of the table: none takes the place of who has the least left
        for n in 0..u32::try_from(SETS * WAYS / 5).unwrap() {
            rates.take_address(std::net::Ipv4Addr::from(n).into(), at(0)).unwrap();
        }
        assert!(rates.take_address(ONE, at(1)).is_err());
    }

    #[test]
    fn a_reload_keeps_the_buckets_of_rates_that_stay() {
        let rates = rates("per_address = { requests = 1, per = \"1h\" }");
        rates.take_address(ONE, at(0)).unwrap();
        assert!(rates.renew(rates.settings).take_address(ONE, at(0)).is_err());
        let other = rates.renew(RateSettings::default());
        other.take_address(ONE, at(0)).unwrap();
    }

    #[test]
    fn off_is_off_and_nonsense_is_refused() {
        assert_eq!(toml::from_str::<RateSettings>("login = \"off\"").unwrap().login, None);
        assert!(RateSettings::default().login.is_some());
        for text in [
            "login = \"on\"",
            "login = { requests = 0, per = \"1s\" }",
            "login = { requests = 1, per = \"0s\" }",
            "login = { requests = 1 }",
            "login = { requests = 1, per = \"1s\", most = 3 }",
            "logins = \"off\"",
        ] {
            assert!(toml::from_str::<RateSettings>(text).is_err(), "{text}");
        }
    }
}
