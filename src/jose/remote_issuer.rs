//! An issuer elsewhere, known by its discovery document and key set (OpenID Connect Discovery), or by its key set alone.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tracing::{info, warn};
use url::Url;

use super::{JoseError, KeySet, Way};
use crate::clock::Clock;
use crate::fetch::{Fetch, FetchError, Reach};
use crate::web::{BoxError, chain};

/// An issuer elsewhere: its discovery document, if it has one, and its keys, fetched when first needed and kept fresh.
///
/// Good documents are renewed in the background ahead of their end; past it, one caller fetches and the others wait for
/// it. Where the issuer does not answer, the last good documents stay: a login must not fail because a key set could
/// not be read anew (A19).
#[derive(Debug)]
pub struct RemoteIssuer {
    place: Place,
    way: Arc<dyn Way>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by the one who fetches.
    flight: tokio::sync::Mutex<()>,
    /// For the background task, which must not keep a dropped issuer alive.
    this: Weak<Self>,
}

/// Where an issuer's word is found.
#[derive(Debug)]
enum Place {
    /// Its discovery document is below its own name.
    Discovery(Url),
    /// Its key set is at a URL of the operator's choice, and so is its name.
    Keys { name: String, url: Url },
}

#[derive(Debug, Default)]
struct State {
    documents: Option<Documents>,
    trouble: Option<Trouble>,
    /// When a `kid` last forced a refetch.
    forced: Option<SystemTime>,
}

#[derive(Clone, Debug)]
struct Documents {
    metadata: Arc<Value>,
    keys: Arc<KeySet>,
    fetched: SystemTime,
    lives: Duration,
}

#[derive(Debug)]
struct Trouble {
    reason: String,
    failures: u32,
    again_at: SystemTime,
}

impl RemoteIssuer {
    /// Nothing is fetched yet. `issuer` is compared to the letter with what the document says (OIDC Discovery §4.3).
    pub fn new(issuer: Url, fetch: Arc<Fetch>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::at(Place::Discovery(issuer), fetch, clock)
    }

    /// An issuer without a discovery document: `name` is compared to the letter with what tokens say, and its keys are
    /// at `url`.
    pub fn with_keys_at(url: Url, name: String, way: Arc<dyn Way>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::at(Place::Keys { name, url }, way, clock)
    }

    fn at(place: Place, way: Arc<dyn Way>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            place,
            way,
            clock,
            state: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
            this: this.clone(),
        })
    }

    /// Whether `name` is this issuer's, to the letter.
    ///
    /// A [`Url`] of a bare host always has a slash at its end, which the operator may not have written and many issuers
    /// don't have: such an issuer is known by both. What a token says must still be what the document says.
    pub fn is_called(&self, name: &str) -> bool {
        match &self.place {
            Place::Discovery(url) => {
                name == url.as_str() || (url.path() == "/" && url.as_str().strip_suffix('/') == Some(name))
            }
            Place::Keys { name: configured, .. } => name == configured,
        }
    }

    /// The discovery document.
    pub async fn metadata(&self) -> Result<Arc<Value>, JoseError> {
        Ok(self.documents().await?.metadata)
    }

    /// The keys: the last good set where the issuer does not answer now.
    pub async fn keys(&self) -> Result<Arc<KeySet>, JoseError> {
        Ok(self.documents().await?.keys)
    }

    /// The keys after one forced refetch, for a `kid` that is not among them; at most one refetch in a cool-down (A19).
    pub async fn keys_with(&self, kid: &str) -> Result<Arc<KeySet>, JoseError> {
        let known = self.documents().await?;
        if known.keys.has(kid) {
            return Ok(known.keys);
        }
        let _flight = self.flight.lock().await;
        let known = {
            let mut state = self.state();
            let now = self.clock.now();
            let known = state.documents.clone().unwrap_or(known);
            if known.keys.has(kid) || state.forced.is_some_and(|at| age(at, now) < COOL_DOWN) {
                return Ok(known.keys);
            }
            state.forced = Some(now);
            known
        };
        // the key set alone: an unknown key says nothing of the discovery document
        match self.fetch_keys(&known.metadata).await {
            Ok((keys, _)) => {
                info!(issuer = %self.place, "key set fetched again for an unknown key");
                let keys = Arc::new(keys);
                // the age stays, or a stream of unknown keys would keep an old discovery document alive
                self.succeeded(Documents { keys: Arc::clone(&keys), ..known });
                Ok(keys)
            }
            Err(problem) => {
                self.failed(&problem);
                Ok(known.keys)
            }
        }
    }

    /// Why the issuer can't be used now, if so.
    pub fn trouble(&self) -> Option<String> {
        self.state().trouble.as_ref().map(|trouble| trouble.reason.clone())
    }

    async fn documents(&self) -> Result<Documents, JoseError> {
        match self.known() {
            Known::Fresh(documents) => return Ok(documents),
            Known::Ageing(documents) => {
                self.renew_in_background();
                return Ok(documents);
            }
            Known::Resting(answer) => return answer,
            Known::Wanting => {}
        }
        let _flight = self.flight.lock().await;
        // someone else may have been to the issuer while we waited
        match self.known() {
            Known::Fresh(documents) | Known::Ageing(documents) => Ok(documents),
            Known::Resting(answer) => answer,
            Known::Wanting => self.renew().await,
        }
    }

    fn known(&self) -> Known {
        let state = self.state();
        let now = self.clock.now();
        if let Some(documents) = &state.documents {
            let age = age(documents.fetched, now);
            if age < documents.lives.mul_f64(RENEW_AT) {
                return Known::Fresh(documents.clone());
            }
            if age < documents.lives {
                return Known::Ageing(documents.clone());
            }
        }
        match &state.trouble {
            Some(trouble) if now < trouble.again_at => {
                Known::Resting(state.documents.clone().ok_or_else(|| self.unavailable(trouble.reason.as_str().into())))
            }
            _ => Known::Wanting,
        }
    }

    fn renew_in_background(&self) {
        let resting = |trouble: &Trouble| self.clock.now() < trouble.again_at;
        if self.state().trouble.as_ref().is_some_and(resting) {
            return;
        }
        let this = self.this.clone();
        tokio::spawn(async move {
            let Some(this) = this.upgrade() else { return };
            let Ok(_flight) = this.flight.try_lock() else { return };
            if matches!(this.known(), Known::Ageing(_) | Known::Wanting) {
                // a failure is kept in the state and logged; who asks next gets the last good documents
                let _ = this.renew().await;
            }
        });
    }

    /// Fetches both documents; the last good ones stand in where that fails.
    async fn renew(&self) -> Result<Documents, JoseError> {
        match self.fetch_documents().await {
            Ok(documents) => {
                self.succeeded(documents.clone());
                Ok(documents)
            }
            Err(problem) => {
                self.failed(&problem);
                self.state().documents.clone().ok_or_else(|| self.unavailable(problem))
            }
        }
    }

    fn succeeded(&self, documents: Documents) {
        let mut state = self.state();
        state.documents = Some(documents);
        if state.trouble.take().is_some() {
            info!(issuer = %self.place, "the issuer's documents can be fetched again");
        }
    }

    fn failed(&self, problem: &BoxError) {
        let reason = chain(problem.as_ref());
        warn!(issuer = %self.place, reason, "the issuer's documents can't be fetched");
        let mut state = self.state();
        let failures = state.trouble.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE);
        // jitter, so that many instances don't come back to a recovering issuer at once (A35)
        let again_at = self.clock.now() + pause.mul_f64(0.75 + fastrand::f64() / 4.0);
        state.trouble = Some(Trouble { reason, failures, again_at });
    }

    async fn fetch_documents(&self) -> Result<Documents, BoxError> {
        let issuer = match &self.place {
            Place::Discovery(issuer) => issuer,
            Place::Keys { name, .. } => {
                let metadata = Arc::new(json!({ "issuer": name }));
                let (keys, lives) = self.fetch_keys(&metadata).await?;
                return Ok(Documents { metadata, keys: Arc::new(keys), fetched: self.clock.now(), lives });
            }
        };
        let url = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
        let (_, document) = self.get(&url, &Reach::Configured).await?;
        let metadata: Value = serde_json::from_slice(&document).map_err(|e| format!("discovery document: {e}"))?;
        let named = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if !self.is_called(named) {
            // OIDC Discovery §4.3: or else one issuer could speak for another
            let named: String = named.chars().take(200).collect();
            return Err(format!("the discovery document names the issuer {named:?}").into());
        }
        let metadata = Arc::new(metadata);
        let (keys, lives) = self.fetch_keys(&metadata).await?;
        Ok(Documents { metadata, keys: Arc::new(keys), fetched: self.clock.now(), lives })
    }

    async fn fetch_keys(&self, metadata: &Value) -> Result<(KeySet, Duration), BoxError> {
        let (headers, document) = match &self.place {
            Place::Keys { url, .. } => self.get(url.as_str(), &Reach::Configured).await?,
            Place::Discovery(issuer) => {
                let uri = metadata.get("jwks_uri").and_then(Value::as_str);
                let uri = uri.ok_or("the discovery document has no `jwks_uri`")?;
                let scheme = Url::parse(uri)?.scheme().to_owned();
                if scheme != "https" && scheme != issuer.scheme() {
                    return Err("the discovery document has a `jwks_uri` that is not https".into());
                }
                // the document is the issuer's word, not the operator's: no way from it to addresses closer to us (A19)
                let reach = Reach::NoCloserThan(issuer.host_str().unwrap_or_default().to_owned());
                self.get(uri, &reach).await?
            }
        };
        Ok((KeySet::parse(&document)?, life(&headers)))
    }

    async fn get(&self, url: &str, reach: &Reach) -> Result<(HeaderMap, Bytes), BoxError> {
        let request = Request::get(url).header(ACCEPT, KINDS).body(Bytes::new())?;
        let (head, body) = self.way.send(request, reach).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("`{url}` answered {}", head.status).into());
        }
        Ok((head.headers, body))
    }

    fn unavailable(&self, source: BoxError) -> JoseError {
        let (Place::Discovery(url) | Place::Keys { url, .. }) = &self.place;
        let host = url.host_str().unwrap_or_default().to_owned();
        match source.downcast::<FetchError>() {
            Ok(fetch) => JoseError::Unavailable(*fetch),
            Err(source) => JoseError::Unavailable(FetchError::Unreachable { host, source }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery(issuer) => fmt::Display::fmt(issuer, f),
            Self::Keys { name, .. } => f.write_str(name),
        }
    }
}

/// What we have, by our own clock.
enum Known {
    Fresh(Documents),
    /// Good, but due to be renewed.
    Ageing(Documents),
    /// Not good any more, and the issuer failed so lately that we don't ask again: the last good ones, or why not.
    Resting(Result<Documents, JoseError>),
    /// To be fetched.
    Wanting,
}

/// A clock that was set back makes anything old at once, so that nothing lives longer than it should.
fn age(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::MAX)
}

/// How long the documents may be kept, by `Cache-Control: max-age` (RFC 9111 §5.2.2.1) within our bounds.
fn life(headers: &HeaderMap) -> Duration {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let mut life = USUAL_LIFE;
    for directive in directives {
        match directive.split_once('=') {
            Some((name, seconds)) if name.eq_ignore_ascii_case("max-age") => {
                life = seconds.trim_matches('"').parse().map_or(life, Duration::from_secs);
            }
            None if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") => {
                return SHORTEST_LIFE;
            }
            _ => {}
        }
    }
    life.clamp(SHORTEST_LIFE, LONGEST_LIFE)
}

/// The API server of Kubernetes answers 406 to whoever does not take key sets by their own type (RFC 7517 §8.5.2).
const KINDS: &str = "application/json, application/jwk-set+json";
/// Unknown `kid`s are free for attackers: they cost the issuer one request in so long (A19).
const COOL_DOWN: Duration = Duration::from_secs(30);
/// The part of their life after which documents are renewed in the background.
const RENEW_AT: f64 = 0.7;
const USUAL_LIFE: Duration = Duration::from_secs(3600);
const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
