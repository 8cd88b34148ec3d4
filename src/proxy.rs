//! The reverse proxy: a request's way, on one page and in order.
//!
//! Nothing is sent upstream without a [`Permit`], and only the policy makes one. Whatever
//! fails is a [`Fault`], and the way ends there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, request};
use hyper::upgrade::OnUpgrade;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::credentials::{Credentials, IssueError};
use crate::fault::Fault;
use crate::generation::Generation;
use crate::identity::{EvidenceError, HolderId, SourceName, Subject};
use crate::inject::Given;
use crate::policy::{Ask, NormalPath, Permit};
use crate::route::{Host, Route, is_ours};
use crate::session::{CookieNames, Session, Sessions};
use crate::trace::Trace;
use crate::web::{self, Body, Caller, Connection, Request, Response};

mod cross_site;
mod cut;
mod dress;
mod egress;
mod forwarded;
mod role;
mod signed;
mod term;
mod tokens;
mod trailers;
mod tunnel;

pub use forwarded::{CLAIMS, Client};

use cut::Cut;
use term::Terms;
use tokens::Tokens;
use tunnel::Upgrade;

/// The proxy: what outlives a generation.
#[derive(Debug)]
pub struct Proxy {
    sessions: Arc<Sessions>,
    broker: Broker,
    terms: Terms,
}

/// A request's arrival: what the door knows of it besides the request itself.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The request's id, which goes on to the upstream.
    pub id: &'a str,
    /// The trace it belongs to.
    pub trace: &'a Trace,
    /// When it came.
    pub now: SystemTime,
    /// The connection it came on.
    pub connection: &'a Connection,
    /// The client, as far as it can be believed.
    pub client: Client,
    /// The host it asks for, as it was written: the server saw to it that there is exactly one (A3).
    pub host: &'a HeaderValue,
    /// What our cookies are called here; absent where nobody can log in.
    pub cookies: Option<&'a CookieNames>,
    /// Whether it is a person's own step in a browser, which can be sent to log in and comes back.
    pub may_log_in: bool,
}

/// What the access line says of a request's way, as far as it got.
#[derive(Debug, Default)]
pub struct Note<'g> {
    /// The route.
    pub route: Option<&'g Route>,
    /// Who asked, and by whose credentials.
    pub asker: Option<(Arc<Subject>, HolderId)>,
}

/// What a reload has taken away.
#[derive(Debug)]
pub struct Taken {
    /// Sources that are not there any more, or speak for others: their sessions have ended already.
    pub sources: BTreeSet<SourceName>,
    /// Listeners that were closed.
    pub listeners: BTreeSet<Arc<str>>,
    /// How long tunnels may go on that came in by one of these.
    pub grace: Duration,
}

impl Proxy {
    /// A proxy that recognises these sessions' tickets and gets credentials from this broker.
    pub fn new(sessions: Arc<Sessions>, broker: Broker, clock: Arc<dyn Clock>) -> Self {
        Self { sessions, broker, terms: Terms::new(clock) }
    }

    /// This generation is in use from now on. Open streams and tunnels that were let in by what it took away are cut, and
    /// those of certificates that their listener believes no more.
    pub fn reloaded(&self, generation: &Arc<Generation>, taken: Taken) {
        self.terms.reloaded(generation, taken);
    }

    /// One request's way. What goes upstream is taken out of `head`.
    ///
    /// # Errors
    /// [`Fault::Anonymous`] where a login would help; the door knows whether to send the caller there.
    pub async fn answer<'g>(
        &self,
        generation: &'g Generation,
        head: &mut request::Parts,
        body: Body,
        arrival: &Arrival<'_>,
        note: &mut Note<'g>,
    ) -> Result<Response, Fault> {
        let host = arrival.host()?;
        let target = head.uri.clone();
        let path = NormalPath::parse(target.path())?;
        // the door has taken what is ours as we spell it; in another spelling it is nobody's (A5)
        if is_ours(path.as_str()) {
            return Err(Fault::NoRoute);
        }
        let route = generation.routes.find(&host, &path).ok_or_else(|| egress::nowhere(generation, &host))?;
        note.route = Some(route);
        route.admit(&path)?;
        egress::guard(route, head, arrival.connection)?;
        let upstream = egress::upstream(route, &host, arrival.host)?;
        let to = dress::To { route, upstream: &upstream };

        let body = match generation.takes_signatures {
            true => Box::pin(signed::body_to_judge(generation, to, head, body)).await?,
            false => body,
        };
        let step = arrival.trace.step("identify");
        let session = match arrival.cookies {
            Some(cookies) => self.sessions.recognize(&head.headers, cookies, host.as_str(), arrival.now).await?,
            None => None,
        };
        let caller = Caller { head, connection: arrival.connection };
        let identity = generation.identify(&caller, route, session.as_ref()).await?;
        let signed = match generation.takes_signatures {
            true => signed::signed(generation, identity.as_ref(), &caller)?,
            false => None,
        };
        note.asker = identity.as_ref().map(|who| (Arc::clone(&who.subject), who.holder.id));
        drop(step);
        generation.rates.take_identity(identity.as_ref().map(|who| &who.subject), arrival.now)?;

        let step = arrival.trace.step("decide");
        let peer = arrival.client.address;
        let chosen = role::chosen(route, identity.as_ref(), session.as_ref());
        let role = role::wanted(route, &head.headers, chosen.as_deref())?;
        let ask = Ask { identity: identity.as_ref(), method: &head.method, path: &path, peer, role, now: arrival.now };
        let permit = match route.cors_preflight.then(|| route.policy.preflight(ask, &head.headers)).flatten() {
            Some(permit) => permit,
            None => route.policy.decide(ask)?,
        };
        drop(step);
        let session = session.filter(|session| permit.identity().is_some_and(|who| who.holder.id == session.id()));
        if session.is_some() && permit.grant().is_some() {
            cross_site::check(head, &host, route)?;
        }
        let credentials = self.credentials(generation, &permit, arrival).await?;
        let tokens = Tokens::of(route, &permit, arrival.now).await?;

        // a preflight is nobody's, and a tunnel that nobody opened would be anybody's (A4)
        let may_upgrade = web::wants_upgrade(&head.headers) && !permit.is_preflight();
        let upgrade = may_upgrade.then(|| head.extensions.remove::<OnUpgrade>()).flatten();
        let term = || self.terms.of(&permit, session.as_ref(), generation, arrival);
        let body = Cut::short_or_cut(body, term);
        let (scope, check) = signed.map_or((None, None), |signed| (Some(signed.scope), signed.check));
        let (body, verdict) = match check {
            Some(check) => signed::checked(body, check)?,
            None => (body, None),
        };
        if scope.is_some() {
            signed::strip(head);
        }
        let body = dress::body_at_hand(to, &permit, &head.headers, body).await?;
        // what was signed for a login is not sent after its end, nor waited for, nor is the answer passed on
        let is_over = || session.as_ref().is_some_and(|session| session.is_over());
        if is_over() {
            return Err(Fault::Anonymous);
        }
        let mut step = arrival.trace.call(head.method.as_str());
        // in a block, and waited for in one place: this is every request's state, and holds what it can of it once
        let sent = {
            let mut request = dress::for_upstream(generation, to, &permit, &path, head, body, arrival)?;
            arrival.trace.tell(request.headers_mut(), step.as_ref());
            if let Some(scope) = scope {
                request.extensions_mut().insert(scope);
            }
            let given = Given {
                identity: permit.identity(),
                credentials: credentials.as_ref(),
                access_token: tokens.access.as_ref(),
                id_token: tokens.id.as_ref(),
                now: arrival.now,
            };
            let request = inject(route, &permit, request, &given)?;
            if let Some(step) = &mut step {
                step.note("http.request.method", request.method().as_str());
                step.note("server.address", upstream.authority().to_str().unwrap_or_default());
                step.may_fail();
            }
            upstream.send(request)
        };
        let response = tokio::select! {
            biased;
            response = sent => response?,
            () = over(session.as_deref()) => return Err(Fault::Anonymous),
        };
        if is_over() {
            return Err(Fault::Anonymous);
        }
        signed::acknowledged(verdict.as_ref(), &response, &upstream)?;
        if let Some(step) = &mut step {
            step.note("http.response.status_code", response.status().as_u16());
            step.succeed();
        }
        let upgrade = upgrade.map(|client| Upgrade { client, entry: self.terms.entry(generation, arrival) });
        Ok(dress::for_client(response, &upstream, &permit, term, upgrade))
    }

    /// The permit's credentials; none where the route wants no role.
    async fn credentials(
        &self,
        generation: &Generation,
        permit: &Permit,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Arc<Credentials>>, Fault> {
        let (Some(grant), Some(identity)) = (permit.grant(), permit.identity()) else { return Ok(None) };
        let provider = generation.providers.get(&grant.provider).ok_or(Fault::Internal("a grant names no provider"))?;
        if let Some(credentials) = self.broker.fresh(grant, &identity.holder, provider, arrival.now) {
            // a SAML response is good for minutes: who passes by in a browser brings another before programs miss the keys
            if arrival.may_log_in && provider.shows_assertions() && credentials.end_soon(arrival.now) {
                let evidence = Box::pin(identity.holder.evidence.evidence(Duration::ZERO)).await;
                if matches!(evidence, Err(EvidenceError::Expired)) {
                    return Err(Fault::Issue(Arc::new(IssueError::EvidenceExpired)));
                }
            }
            return Ok(Some(credentials));
        }
        let mut step = arrival.trace.step("issue");
        if let Some(step) = &mut step {
            step.note("claviger.credentials.provider", &*grant.provider);
        }
        Ok(Some(Box::pin(self.broker.credentials(grant, &identity.holder, provider)).await?))
    }
}

/// The session's end; never, where there is none.
async fn over(session: Option<&Session>) {
    match session {
        Some(session) => session.ended().await,
        None => std::future::pending().await,
    }
}

/// Puts on what the route's injectors have to put on. A preflight is nobody's, so nothing is put on it.
fn inject(route: &Route, permit: &Permit, request: Request, given: &Given<'_>) -> Result<Request, Fault> {
    if permit.is_preflight() {
        return Ok(request);
    }
    Ok(route.injectors.iter().try_fold(request, |request, injector| injector.inject(request, given))?)
}

impl Arrival<'_> {
    /// The host, to find routes by.
    ///
    /// # Errors
    /// What is written is no host.
    pub fn host(&self) -> Result<Host<'_>, Fault> {
        let host = self.host.to_str().ok().and_then(|text| Host::parse(text).ok());
        host.ok_or_else(|| Fault::Malformed("the Host header is not a host".into()))
    }
}
