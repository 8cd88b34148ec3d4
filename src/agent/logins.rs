//! Who is logged in where, and logins that are under way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use url::Url;

use super::loopback::{Loopback, Said};
use crate::clock::Clock;
use crate::generation::Generation;
use crate::identity::{HolderId, Identity, IdentitySource, LoginError, Onward, Returned, SourceName};
use crate::secret::random_token;
use crate::session::{Session, Sessions, Why};
use crate::web::{BoxError, chain};

/// All logins of this user.
#[derive(Debug)]
pub(super) struct Logins {
    inner: Arc<Inner>,
    under_way: Mutex<BTreeMap<SourceName, Begun>>,
}

#[derive(Debug)]
struct Inner {
    sessions: Arc<Sessions>,
    sources: BTreeMap<SourceName, Arc<dyn IdentitySource>>,
    /// Which session is whose: names without any secret.
    held: Mutex<BTreeMap<SourceName, HolderId>>,
    kept: PathBuf,
    clock: Arc<dyn Clock>,
}

/// A login under way.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) url: Url,
    outcome: watch::Receiver<Option<Result<(), String>>>,
}

/// Why no login could be begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    #[error("nobody can log in at [identity.{0}] from here")]
    NoLogin(SourceName),
    #[error("no port on loopback can be listened on")]
    Loopback(#[source] std::io::Error),
    #[error("the login can't be begun")]
    Login(#[source] LoginError),
}

impl Logins {
    /// Those that were kept, as far as their sessions are still there.
    pub(super) async fn new(
        sessions: Arc<Sessions>,
        generation: &Generation,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let kept = folder.join("logins.json");
        let held = fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let sources = generation.sources.clone();
        let inner = Inner { sessions, sources, held: Mutex::new(held), kept, clock };
        Self { inner: Arc::new(inner), under_way: Mutex::default() }
    }

    /// Who is logged in at this source.
    pub(super) async fn identity(&self, source: &SourceName) -> Option<Identity> {
        let session = self.inner.session(source).await?;
        (!session.is_over() && session.ends() > self.inner.clock.now()).then(|| session.identity())
    }

    /// Begins a login, or joins the one under way: however many ask, one page is opened. True: it is new.
    pub(super) async fn begin(&self, source: &SourceName) -> Result<(Begun, bool), BeginError> {
        if let Some(begun) = self.under_way(source) {
            return Ok((begun, false));
        }
        let no_login = || BeginError::NoLogin(Arc::clone(source));
        let at = Arc::clone(self.inner.sources.get(source).ok_or_else(no_login)?);
        let loopback = Loopback::open().await.map_err(BeginError::Loopback)?;
        let login = at.login().ok_or_else(no_login)?;
        let begun = login.begin(&loopback.callback(), false).await.map_err(BeginError::Login)?;
        // an answer that is posted would need a page of ours that takes posts from others
        let Onward::Redirect(url) = begun.to else { return Err(no_login()) };
        if begun.is_posted_back {
            return Err(no_login());
        }
        let (told, outcome) = watch::channel(None);
        let underway = Begun { url, outcome };
        {
            let mut logins = lock(&self.under_way);
            // another may have been begun while the provider was asked
            if let Some(begun) = logins.get(source).filter(|begun| begun.is_open()) {
                return Ok((begun.clone(), false));
            }
            logins.insert(Arc::clone(source), underway.clone());
        }
        let (inner, source) = (Arc::clone(&self.inner), Arc::clone(source));
        tokio::spawn(async move {
            let finish = async |returned: Returned| match inner.finish(&source, &returned, &begun.memory).await {
                Ok(name) => {
                    told.send_replace(Some(Ok(())));
                    Said::Welcome { name }
                }
                Err(error) => {
                    let reason = chain(&*error);
                    told.send_replace(Some(Err(reason.clone())));
                    Said::Refused { reason }
                }
            };
            if loopback.answer(&begun.state, finish).await.is_err() {
                told.send_replace(Some(Err("nobody came back from the browser in ten minutes".to_owned())));
            }
        });
        Ok((underway, true))
    }

    /// The login under way, where there is one.
    pub(super) fn under_way(&self, source: &SourceName) -> Option<Begun> {
        lock(&self.under_way).get(source).filter(|begun| begun.is_open()).cloned()
    }

    /// What has become of the last one that was begun, once it has come to something.
    pub(super) async fn outcome(&self, source: &SourceName) -> Result<(), String> {
        let begun = lock(&self.under_way).get(source).cloned();
        let Some(mut begun) = begun else { return Err("no login was begun".to_owned()) };
        let outcome = begun.outcome.wait_for(Option::is_some).await;
        outcome.map_or_else(|_| None, |outcome| outcome.clone()).unwrap_or_else(|| Err("the login was lost".to_owned()))
    }

    /// Ends the login at this source. False: there was none.
    pub(super) async fn end(&self, source: &SourceName) -> bool {
        let session = self.inner.session(source).await;
        self.inner.keep(source, None);
        match session {
            Some(session) => self.inner.sessions.end(&session, Why::Logout).await.is_ok(),
            None => false,
        }
    }
}

impl Inner {
    async fn session(&self, source: &SourceName) -> Option<Arc<Session>> {
        let id = lock(&self.held).get(source).copied()?;
        self.sessions.by_id(id).await.ok().flatten()
    }

    /// The session of a login that has come back; what is said is how its owner is called.
    async fn finish(
        &self,
        source: &SourceName,
        returned: &Returned,
        memory: &crate::identity::LoginMemory,
    ) -> Result<String, BoxError> {
        let login = self.sources.get(source).and_then(|source| source.login()).ok_or("its source is gone")?;
        let signed_in = login.finish(returned, memory).await?;
        // A21: a source vouches in its own name only
        if signed_in.subject.source != *source {
            return Err("it names another source".into());
        }
        let before = self.session(source).await;
        let (session, _ticket) = self.sessions.start(signed_in, HOST).await?;
        self.keep(source, Some(session.id()));
        if let Some(before) = before {
            // best effort: it ends by itself as well
            let _ = self.sessions.end(&before, Why::Replaced).await;
        }
        let claims = session.claims();
        let name = super::NAMES.iter().find_map(|name| claims.text(name)).unwrap_or_default();
        tracing::info!(subject.source = &**source, subject.id = &*session.subject().id, "logged in");
        Ok(name)
    }

    /// Remembers which session is whose. Written beside and renamed, so that a kill in between loses nothing (A37).
    fn keep(&self, source: &SourceName, id: Option<HolderId>) {
        let mut held = lock(&self.held);
        match id {
            Some(id) => held.insert(Arc::clone(source), id),
            None => held.remove(source),
        };
        let beside = self.kept.with_extension(format!("{}.new", random_token(8)));
        let written = serde_json::to_vec(&*held).map_err(std::io::Error::other).and_then(|text| {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            std::io::Write::write_all(&mut file, &text)?;
            file.sync_all()?;
            fs::rename(&beside, &self.kept)
        });
        if let Err(error) = written {
            tracing::error!(path = %self.kept.display(), error = chain(&error), "who is logged in can't be kept");
        }
    }
}

impl Begun {
    fn is_open(&self) -> bool {
        self.outcome.borrow().is_none() && self.outcome.has_changed().is_ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tickets are bound to hosts; nobody gets one here.
const HOST: &str = "agent";
