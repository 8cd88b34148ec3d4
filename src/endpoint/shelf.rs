//! Answers that are ready: each is written once for the credentials that it hands out.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::Client;
use super::own::Held;
use crate::credentials::Credentials;

/// The bodies of answers with credentials that are in use.
#[derive(Default)]
pub(super) struct Shelf(ArcSwap<Vec<Ready>>);

#[derive(Clone)]
struct Ready {
    /// Held, so that no others can come to their place in memory and be mistaken for them.
    credentials: Arc<Credentials>,
    body: Bytes,
    /// Who has had them.
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Shelf {
    /// The body for these credentials, which `write` makes once; and whether they are new to this client.
    pub(super) fn body(
        &self,
        held: &Held,
        client: Client,
        now: SystemTime,
        write: impl FnOnce(&Held) -> Vec<u8>,
    ) -> (Bytes, bool) {
        self.of(&held.credentials, client, now, |_| write(held))
    }

    fn of(
        &self,
        credentials: &Arc<Credentials>,
        client: Client,
        now: SystemTime,
        write: impl FnOnce(&Credentials) -> Vec<u8>,
    ) -> (Bytes, bool) {
        let is_for = |ready: &&Ready| Arc::ptr_eq(&ready.credentials, credentials);
        if let Some(ready) = self.0.load().iter().find(is_for) {
            return (ready.body.clone(), ready.is_new_to(client));
        }
        // wiped when the last answer with it has gone
        let body = Bytes::from_owner(Zeroizing::new(write(credentials)));
        let clients = Arc::new(Mutex::new(vec![client]));
        let ready = Ready { credentials: Arc::clone(credentials), body: body.clone(), clients };
        self.0.rcu(|kept| {
            let is_good = |ready: &&Ready| ready.credentials.expires > now;
            let mut next: Vec<Ready> = kept.iter().filter(is_good).cloned().collect();
            let surplus = (next.len() + 1).saturating_sub(MOST);
            next.drain(..surplus);
            next.push(ready.clone());
            next
        });
        (body, true)
    }
}

impl Ready {
    fn is_new_to(&self, client: Client) -> bool {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.contains(&client) {
            return false;
        }
        if clients.len() >= MOST_CLIENTS {
            clients.clear(); // better told twice than not at all
        }
        clients.push(client);
        true
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("bodies", &self.0.load().len()).finish_non_exhaustive()
    }
}

/// More roles than any endpoint has, each with keys and the ones before them.
const MOST: usize = 64;
/// More users and containers than share an endpoint.
const MOST_CLIENTS: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::from_epoch_seconds;
    use crate::secret::Secret;

    fn credentials(expires: u64) -> Arc<Credentials> {
        Arc::new(Credentials {
            access_key_id: "ASIA".into(),
            secret_access_key: Secret::new("canary"),
            session_token: HeaderValue::from_static("token"),
            expires: from_epoch_seconds(expires),
            issued: from_epoch_seconds(0),
            role_session: "".into(),
            request_id: "".into(),
        })
    }

    #[test]
    fn an_answer_is_written_once_and_told_once_to_each_client() {
        let (shelf, now) = (Shelf::default(), from_epoch_seconds(100));
        let mut ours = Vec::new();
        let mut body = |credentials: &Arc<Credentials>, user, text: &str| {
            let written = |credentials: &Credentials| {
                ours.push(text.to_owned());
                assert!(!credentials.access_key_id.is_empty());
                text.as_bytes().to_vec()
            };
            shelf.of(credentials, Client::User(user), now, written)
        };
        let (one, two) = (credentials(200), credentials(201));
        assert_eq!(body(&one, 1, "one"), ("one".into(), true));
        assert_eq!(body(&one, 1, "never"), ("one".into(), false));
        assert_eq!(body(&one, 2, "never"), ("one".into(), true), "another client");
        assert_eq!(body(&two, 1, "two"), ("two".into(), true), "keys of the same content are others");
        assert_eq!(body(&one, 2, "never"), ("one".into(), false));
        assert_eq!(ours, ["one", "two"]);
    }

    #[test]
    fn what_has_ended_and_what_is_too_much_goes() {
        let shelf = Shelf::default();
        let put = |expires, now| shelf.of(&credentials(expires), Client::User(1), from_epoch_seconds(now), |_| vec![0]);
        put(10, 0);
        put(30, 20);
        assert_eq!(shelf.0.load().len(), 1);
        (0..MOST + 5).for_each(|_| drop(put(40, 20)));
        assert_eq!(shelf.0.load().len(), MOST);
        assert!(!format!("{shelf:?}").contains("canary"));
    }
}
