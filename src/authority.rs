//! A Security Token Service of our own: it verifies what AWS's verifies, and answers in its shape.
//!
//! The Query API of STS 2011-06-15 on `/`: AssumeRoleWithWebIdentity, AssumeRoleWithSAML, AssumeRole, GetCallerIdentity.
//! Tokens are verified with their provider's published keys, SAML responses by its metadata's certificates, roles by
//! their trust policies, signed calls by SigV4. It has one account, no
//! identity policies and no permission policies: what a role may do elsewhere is for that place to say. A session
//! policy is kept with the session and told to services that ask; such a session can't assume another role.
//!
//! Beside AWS's API, services that trust this STS ask it about signatures (`verdict.rs`). Nothing of the rest of
//! claviger is used here: it could be another program.

mod account;
mod assume;
mod assume_role;
mod caller;
mod calls;
mod query;
mod refusal;
#[cfg(feature = "saml")]
mod saml;
mod session;
mod settings;
mod tags;
mod trust;
mod verdict;
mod web_identity;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header, request};
use tracing::info;

pub use self::account::{Account, PolicyText};
use self::calls::Calls;
use self::query::Query;
use self::refusal::Refusal;
use self::session::Seal;
#[cfg(feature = "saml")]
pub use self::settings::SamlProviderSettings;
pub use self::settings::{AuthoritySettings, PolicyFile, PolicySource, ProviderSettings, RoleSettings, UserSettings};
use self::web_identity::Issuer;
use crate::arn::ServiceName;
use crate::clock::Clock;
use crate::fetch::Fetch;
use crate::jose::RemoteIssuer;
use crate::server::Handler;
use crate::telemetry::{AUDIT, Metrics};
use crate::web::xml::Xml;
use crate::web::{CollectError, Connection, Request, Response};

/// The STS of one account.
#[derive(Debug)]
pub struct Authority {
    account: Account,
    /// By what tokens call them.
    issuers: HashMap<String, Issuer>,
    #[cfg(feature = "saml")]
    saml: saml::SamlProviders,
    seal: Arc<Seal>,
    clock: Arc<dyn Clock>,
    calls: Arc<Calls>,
    service: ServiceName,
}

impl Authority {
    /// An STS for this account. It fetches its providers' keys when the first token comes.
    ///
    /// Sessions end with it: the key that seals their tokens is fresh each time.
    pub fn new(mut account: Account, fetch: &Arc<Fetch>, clock: Arc<dyn Clock>, metrics: &Metrics) -> Arc<Self> {
        let issuers = issuers(&mut account, fetch, &clock, &HashMap::new());
        #[cfg(feature = "saml")]
        let saml = saml::SamlProviders::new(std::mem::take(&mut account.saml_providers));
        Arc::new(Self {
            account,
            issuers,
            #[cfg(feature = "saml")]
            saml,
            seal: Arc::new(Seal::fresh()),
            clock,
            calls: Arc::new(Calls::new(metrics.clone())),
            service: caller::sts(),
        })
    }

    /// The same STS for the account as it is now: sessions that were opened stay good, and what is known of a provider
    /// that stays is not fetched anew.
    pub fn with_account(&self, mut account: Account, fetch: &Arc<Fetch>) -> Arc<Self> {
        let issuers = issuers(&mut account, fetch, &self.clock, &self.issuers);
        #[cfg(feature = "saml")]
        let saml = self.saml.replaced(std::mem::take(&mut account.saml_providers));
        Arc::new(Self {
            account,
            issuers,
            #[cfg(feature = "saml")]
            saml,
            seal: Arc::clone(&self.seal),
            clock: Arc::clone(&self.clock),
            calls: Arc::clone(&self.calls),
            service: self.service.clone(),
        })
    }

    /// How often `action` (`AssumeRole`, `AssumeRoleWithSAML`, `AssumeRoleWithWebIdentity`, `GetCallerIdentity`, `Verdict`)
    /// was called, refusals included.
    pub fn calls(&self, action: &str) -> u64 {
        self.calls.of(action)
    }

    /// One call of the Query API.
    async fn call(&self, head: &request::Parts, body: &[u8], request_id: &str) -> Result<Xml, Refusal> {
        let connection = head.extensions.get::<Arc<Connection>>().map(Arc::as_ref);
        let mut query = Query::read(head.uri.query().unwrap_or_default(), form(head, body)?)?;
        let action = query.take("Action").ok_or_else(Refusal::missing_action)?;
        let version = query.take("Version").unwrap_or_else(|| "NO_VERSION_SPECIFIED".to_owned());
        match (action.as_str(), version.as_str()) {
            ("AssumeRoleWithWebIdentity", VERSION) => {
                let assumed = self.assume_role_with_web_identity(query, connection, request_id).await;
                let assumed = self.counted("AssumeRoleWithWebIdentity", request_id, assumed)?;
                let (response, result) = ("AssumeRoleWithWebIdentityResponse", "AssumeRoleWithWebIdentityResult");
                Ok(answer(response, result, request_id, |xml| assumed.write(xml)))
            }
            #[cfg(feature = "saml")]
            ("AssumeRoleWithSAML", VERSION) => {
                let assumed = self.assume_role_with_saml(query, connection, request_id).await;
                let assumed = self.counted("AssumeRoleWithSAML", request_id, assumed)?;
                let (response, result) = ("AssumeRoleWithSAMLResponse", "AssumeRoleWithSAMLResult");
                Ok(answer(response, result, request_id, |xml| assumed.write(xml)))
            }
            ("AssumeRole", VERSION) => {
                let issued = self.assume_role(head, body, query, connection, request_id);
                let issued = self.counted("AssumeRole", request_id, issued)?;
                Ok(answer("AssumeRoleResponse", "AssumeRoleResult", request_id, |xml| issued.write(xml)))
            }
            ("GetCallerIdentity", VERSION) => {
                let caller = query.finish().and_then(|()| self.caller(head, body));
                let caller = self.counted("GetCallerIdentity", request_id, caller)?;
                let (response, result) = ("GetCallerIdentityResponse", "GetCallerIdentityResult");
                Ok(answer(response, result, request_id, |xml| self.write_caller_identity(&caller, xml)))
            }
            _ => Err(Refusal::invalid_action(&action, &version)),
        }
    }

    fn counted<T>(&self, action: &'static str, request_id: &str, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        let code = outcome.as_ref().map_or_else(|refusal| refusal.code, |_| "ok");
        self.calls.count(action, code);
        if let Err(refusal) = &outcome {
            let reason = &*refusal.message;
            info!(
                target: AUDIT,
                { request.id = request_id, sts.action = action, sts.code = code, reason },
                "the authority refused"
            );
        }
        outcome
    }
}

#[async_trait]
impl Handler for Authority {
    async fn handle(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let request_id = request_id();
        let body = match body.collect(MAX_BODY).await {
            Ok(body) => body,
            Err(CollectError::TooLarge { .. }) => return refuse(&Refusal::too_large(), &request_id),
            Err(broken @ CollectError::Broken(_)) => {
                return refuse(&Refusal::validation(broken.to_string()), &request_id);
            }
        };
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/verdict") => self.verdict(&head.headers, &body),
            (&Method::GET | &Method::POST, "/") => {
                // boxed: the way over a provider's keys is deep, and this future lives in every connection
                match Box::pin(self.call(&head, &body, &request_id)).await {
                    Ok(xml) => labelled(xml.answer(StatusCode::OK), &request_id),
                    Err(refusal) => refuse(&refusal, &request_id),
                }
            }
            _ => {
                let refusal = Refusal { status: StatusCode::NOT_FOUND, ..Refusal::invalid_action("", "") };
                refuse(&refusal, &request_id)
            }
        }
    }
}

/// The ways to an account's providers; `known` are those there were.
fn issuers(
    account: &mut Account,
    fetch: &Arc<Fetch>,
    clock: &Arc<dyn Clock>,
    known: &HashMap<String, Issuer>,
) -> HashMap<String, Issuer> {
    let issuers = account.providers.drain(..).map(|provider| {
        let same = known.get(&provider.issuer).filter(|known| known.provider.url == provider.url);
        let remote = same.map_or_else(
            || RemoteIssuer::new(provider.url.clone(), Arc::clone(fetch), Arc::clone(clock)),
            |known| Arc::clone(&known.remote),
        );
        (provider.issuer.clone(), Issuer { provider, remote })
    });
    issuers.collect()
}

/// The form in a POST's body. Another content type is refused, as its parameters would silently be none.
fn form<'b>(head: &request::Parts, body: &'b [u8]) -> Result<&'b [u8], Refusal> {
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    if body.is_empty() || essence.is_some_and(|e| e.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        Ok(body)
    } else {
        Err(Refusal::validation("The body must be application/x-www-form-urlencoded"))
    }
}

fn answer(response: &'static str, result: &'static str, request_id: &str, content: impl FnOnce(&mut Xml)) -> Xml {
    Xml::document(response, XMLNS, |xml| {
        xml.element(result, content);
        xml.element("ResponseMetadata", |xml| xml.text("RequestId", request_id));
    })
}

fn refuse(refusal: &Refusal, request_id: &str) -> Response {
    let xml = Xml::document("ErrorResponse", XMLNS, |xml| {
        xml.element("Error", |xml| {
            xml.text("Type", refusal.blame());
            xml.text("Code", refusal.code);
            xml.text("Message", &refusal.message);
        });
        xml.text("RequestId", request_id);
    });
    labelled(xml.answer(refusal.status), request_id)
}

fn labelled(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", value);
    }
    // credentials are in here
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A random UUID (RFC 9562 §5.4). It names a call in logs and guards nothing.
fn request_id() -> String {
    let id =
        (fastrand::u128(..) & !(0xf000_u128 << 64) & !(0xc000_u128 << 48)) | (0x4000_u128 << 64) | (0x8000_u128 << 48);
    let hex = format!("{id:032x}");
    let parts: Vec<&str> = [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|part| hex.get(part)).collect();
    parts.join("-")
}

const VERSION: &str = "2011-06-15";
const XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// A token of 20,000 characters or a SAML response of 100,000, percent-encoded, a policy, and room.
const MAX_BODY: usize = 128 * 1024;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
