//! Logins that wait for someone to confirm them on another screen (RFC 8628).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::fill;

use super::expiring::Expiring;
use super::grants::{Granted, SignedIn, TokenHash};
use crate::secret::Secret;

/// The logins that wait.
#[derive(Debug)]
pub(super) struct Devices {
    live: Duration,
    state: Mutex<State>,
}

/// A login that was begun: the device keeps the first code, a person types the second.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) device_code: Secret,
    pub(super) user_code: UserCode,
    pub(super) lives: Duration,
    pub(super) interval: Duration,
}

/// `BCDF-GHJK`: no vowels, so no words, and nothing that looks like something else (RFC 8628 §6.1).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct UserCode(String);

/// What the device hears.
#[derive(Debug)]
pub(super) enum Poll {
    Granted(Granted),
    Pending,
    TooSoon,
    Refused,
    Expired,
    Unknown,
}

#[derive(Debug)]
struct State {
    devices: Expiring<TokenHash, Device>,
    codes: Expiring<UserCode, TokenHash>,
}

#[derive(Debug)]
struct Device {
    client: Arc<str>,
    scope: String,
    ends: SystemTime,
    interval: Duration,
    polled: Option<SystemTime>,
    verdict: Option<Option<SignedIn>>,
}

impl Devices {
    pub(super) fn new(live: Duration) -> Self {
        let state = State { devices: Expiring::new(CAPACITY), codes: Expiring::new(CAPACITY) };
        Self { live, state: Mutex::new(state) }
    }

    /// `None` where the system has no randomness.
    pub(super) fn begin(&self, client: Arc<str>, scope: String, now: SystemTime) -> Option<Begun> {
        let (device_code, user_code) = (Secret::random(32), UserCode::random()?);
        let ends = now + self.live;
        let device = Device { client, scope, ends, interval: INTERVAL, polled: None, verdict: None };
        let mut state = self.lock();
        let hash = TokenHash::of(device_code.expose());
        state.devices.insert(hash.clone(), ends + REMEMBERED, device, now);
        state.codes.insert(user_code.clone(), ends, hash, now);
        Some(Begun { device_code, user_code, lives: self.live, interval: INTERVAL })
    }

    /// The client whose login waits under this code.
    pub(super) fn waiting(&self, code: &UserCode, now: SystemTime) -> Option<Arc<str>> {
        let mut state = self.lock();
        let hash = state.codes.find(code, now)?.clone();
        state.devices.find(&hash, now).map(|device| Arc::clone(&device.client))
    }

    /// What someone said to it; `None` is no. A code can be answered once. Whether there was one.
    pub(super) fn decide(&self, code: &UserCode, verdict: Option<SignedIn>, now: SystemTime) -> bool {
        let mut state = self.lock();
        let Some(hash) = state.codes.find(code, now).cloned() else { return false };
        state.codes.remove(code);
        let device = state.devices.find(&hash, now);
        device.map(|device| device.verdict = Some(verdict)).is_some()
    }

    /// What the device may hear now (RFC 8628 §3.5). A login is handed out once.
    pub(super) fn poll(&self, code: &str, client: &str, now: SystemTime) -> Poll {
        let (mut state, hash) = (self.lock(), TokenHash::of(code));
        let Some(device) = state.devices.find(&hash, now).filter(|device| *device.client == *client) else {
            return Poll::Unknown;
        };
        if now >= device.ends {
            return Poll::Expired;
        }
        let since = device.polled.replace(now).map(|before| now.duration_since(before).unwrap_or_default());
        match &device.verdict {
            None if since.is_some_and(|since| since < device.interval) => {
                device.interval += INTERVAL;
                Poll::TooSoon
            }
            None => Poll::Pending,
            Some(None) => {
                state.devices.remove(&hash);
                Poll::Refused
            }
            Some(Some(_)) => match state.devices.remove(&hash) {
                Some(Device { client, scope, verdict: Some(Some(person)), .. }) => {
                    Poll::Granted(Granted { client, scope, nonce: None, person })
                }
                _ => Poll::Unknown,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserCode {
    /// As people type it: with or without the dash, in small letters.
    pub(super) fn read(text: &str) -> Option<Self> {
        let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase();
        let fits = letters.len() == LETTERS && letters.bytes().all(|letter| ALPHABET.contains(&letter));
        fits.then_some(Self(letters))
    }

    /// As pages show it.
    pub(super) fn shown(&self) -> String {
        let (one, two) = self.0.split_at(LETTERS / 2);
        format!("{one}-{two}")
    }

    fn random() -> Option<Self> {
        let mut letters = String::new();
        while letters.len() < LETTERS {
            let mut bytes = [0];
            fill(&mut bytes).ok()?;
            let [byte] = bytes;
            // 240 is the largest multiple of 20 in a byte: with those above it some letters would come more often
            if byte < 240 {
                letters.push(char::from(*ALPHABET.get(usize::from(byte) % ALPHABET.len())?));
            }
        }
        Some(Self(letters))
    }
}

const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 20⁸ are 34 bits, guessed ten at a time by people who signed in.
const LETTERS: usize = 8;
/// Between two polls (RFC 8628 §3.2), and what is added for polling too soon.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a login is known after its end, so that its device hears that it expired.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);
/// Anyone can begin one; some 5 MB.
const CAPACITY: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds as at;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = UserCode::random().unwrap();
        let shown = code.shown();
        assert_eq!(shown.len(), 9);
        for typed in
            [shown.clone(), shown.to_lowercase(), shown.replace('-', " "), format!(" {} ", shown.replace('-', ""))]
        {
            assert_eq!(UserCode::read(&typed), Some(code.clone()), "{typed}");
        }
        for typed in ["", "BCDF-GHJ", "BCDF-GHJA", "BCDF-GHJKL", "<script>"] {
            assert_eq!(UserCode::read(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_login_is_handed_out_once_to_its_client() {
        let devices = Devices::new(Duration::from_secs(600));
        let begun = devices.begin("tool".into(), "openid".into(), at(0)).unwrap();
        let code = begun.device_code.expose();
        assert!(matches!(devices.poll(code, "other", at(1)), Poll::Unknown));
        assert!(matches!(devices.poll(code, "tool", at(1)), Poll::Pending));
        assert!(matches!(devices.poll(code, "tool", at(2)), Poll::TooSoon));
        assert!(matches!(devices.poll(code, "tool", at(8)), Poll::TooSoon)); // ten seconds by now
        assert!(matches!(devices.poll(code, "tool", at(30)), Poll::Pending));
        let person = SignedIn { sub: "u1".into(), sid: "s1".into(), at: at(0) };
        assert!(devices.decide(&begun.user_code, Some(person), at(30)));
        assert!(!devices.decide(&begun.user_code, None, at(30)));
        assert!(matches!(devices.poll(code, "tool", at(31)), Poll::Granted(granted) if *granted.person.sub == *"u1"));
        assert!(matches!(devices.poll(code, "tool", at(60)), Poll::Unknown));
        let late = devices.begin("tool".into(), "openid".into(), at(0)).unwrap();
        assert!(matches!(devices.poll(late.device_code.expose(), "tool", at(600)), Poll::Expired));
        assert!(!devices.decide(&late.user_code, None, at(600)));
    }
}
