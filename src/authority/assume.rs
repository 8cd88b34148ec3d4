//! What the ways to assume a role have in common: the wish, the trust policy's word, the credentials.

use std::time::Duration;

use serde_json::Value;
use tracing::info;

use super::Authority;
use super::account::Role;
use super::query::{Query, member_name};
use super::refusal::Refusal;
use super::session::{Federated, Made, Session};
use super::tags::Tags;
use super::trust::{Asker, Context, Key};
use crate::arn::{RoleArn, SessionName, SourceIdentity};
use crate::clock::{epoch_seconds, rfc3339};
use crate::telemetry::AUDIT;
use crate::web::Connection;
use crate::web::xml::Xml;

/// What every AssumeRole call asks for.
#[derive(Debug)]
pub(super) struct Wish {
    /// As it was sent: a role that is no role reads like one that is not there.
    pub(super) role: String,
    pub(super) session_name: SessionName,
    pub(super) duration: Duration,
    pub(super) policy: Option<String>,
}

/// A wish without the session's name, where a provider says that.
#[derive(Debug)]
pub(super) struct Unnamed {
    role: String,
    duration: Duration,
    policy: Option<String>,
}

/// A wish, with all that a trust policy has a say in.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) wish: Wish,
    pub(super) action: &'static str,
    pub(super) asker: Asker<'a>,
    pub(super) tags: Tags,
    pub(super) source_identity: Option<SourceIdentity>,
    pub(super) federated: Option<Federated>,
    pub(super) context: Context,
}

/// Credentials that were issued, and what the answer says of them.
#[derive(Debug)]
pub(super) struct Issued {
    session: Session,
    token: crate::secret::Secret,
    packed_size: Option<usize>,
}

impl Wish {
    pub(super) fn read(query: &mut Query) -> Result<Self, Refusal> {
        let name = query.text("RoleSessionName", 2, 64)?;
        let session_name = name.parse().map_err(|_| not_a_name(&name, "RoleSessionName"))?;
        Ok(Unnamed::read(query)?.named(session_name))
    }

    /// The same for no longer than this.
    #[cfg(feature = "saml")]
    pub(super) fn for_at_most(self, longest: Option<Duration>) -> Self {
        Self { duration: longest.map_or(self.duration, |longest| longest.min(self.duration)), ..self }
    }
}

impl Unnamed {
    pub(super) fn read(query: &mut Query) -> Result<Self, Refusal> {
        let role = query.text("RoleArn", 20, 2048)?;
        let duration = match query.take("DurationSeconds") {
            None => DEFAULT_DURATION,
            Some(text) => duration(&text)?,
        };
        let policy = query.optional_text("Policy", 1, 2048)?;
        if let Some(policy) = &policy {
            let document: Option<Value> = serde_json::from_str(policy).ok();
            if !document.is_some_and(|d| d.get("Statement").is_some_and(|s| s.is_array() || s.is_object())) {
                return Err(Refusal::malformed_policy("The policy is not in the valid JSON format."));
            }
        }
        Ok(Self { role, duration, policy })
    }

    pub(super) fn named(self, session_name: SessionName) -> Wish {
        let Self { role, duration, policy } = self;
        Wish { role, session_name, duration, policy }
    }

    /// As it was sent.
    #[cfg(feature = "saml")]
    pub(super) fn role(&self) -> &str {
        &self.role
    }
}

/// `SourceIdentity`, where the call has one.
pub(super) fn source_identity(query: &mut Query) -> Result<Option<SourceIdentity>, Refusal> {
    let text = query.optional_text("SourceIdentity", 2, 64)?;
    text.map(|text| text.parse().map_err(|_| not_a_name(&text, "SourceIdentity"))).transpose()
}

impl Authority {
    /// Issues credentials, if the role is there, its trust policy allows all that is asked, and the duration fits.
    pub(super) fn assume(
        &self,
        candidate: Candidate<'_>,
        denied: impl Fn(&str) -> Refusal,
        connection: Option<&Connection>,
        request_id: &str,
    ) -> Result<Issued, Refusal> {
        let Candidate { wish, action, asker, tags, source_identity, federated, mut context } = candidate;
        // a role that is not there is denied like one that doesn't trust the caller: nobody can list roles by asking
        let arn: RoleArn = wish.role.parse().map_err(|_| denied(action))?;
        let role = self.account.roles.get(&arn).ok_or_else(|| denied(action))?;
        self.describe_call(&wish, &tags, source_identity.as_ref(), connection, &mut context);
        let needed = [
            Some(action),
            (!tags.is_empty()).then_some("sts:TagSession"),
            source_identity.is_some().then_some("sts:SetSourceIdentity"),
        ];
        for action in needed.into_iter().flatten() {
            if !role.trust.allows(action, asker, &context) {
                return Err(denied(action));
            }
        }
        self.issue(role, wish, tags, source_identity, federated, request_id)
    }

    fn issue(
        &self,
        role: &Role,
        wish: Wish,
        tags: Tags,
        source_identity: Option<SourceIdentity>,
        federated: Option<Federated>,
        request_id: &str,
    ) -> Result<Issued, Refusal> {
        if wish.duration > role.max_session_duration {
            let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(Refusal::validation(message));
        }
        let packed = wish.policy.as_ref().map_or(0, String::len) + tags.len_in_bytes();
        let percent = packed.saturating_mul(100).div_ceil(PACKED_LIMIT);
        if percent > 100 {
            let message = format!("Packed size of session policy and tags consumes {percent}% of allotted space.");
            return Err(Refusal::packed_policy_too_large(message));
        }
        let packed_size = (packed > 0).then_some(percent);
        let made = Made {
            role: role.arn.clone(),
            role_id: role.id.clone(),
            name: wish.session_name,
            tags,
            source_identity,
            federated,
            policy: wish.policy,
            lasts: wish.duration,
        };
        let session = Session::begin(made, self.clock.now());
        let token = self.seal.close(&session).ok_or_else(Refusal::internal)?;
        info!(
            target: AUDIT,
            {
                request.id = request_id,
                role.session = session.arn(),
                subject.id = session.federated.as_ref().map(|f| f.subject.as_str()),
                subject.provider = session.federated.as_ref().map(|f| f.provider.as_str()),
                source_identity = session.source_identity.as_ref().map(SourceIdentity::as_str),
                access_key_id = session.access_key_id,
                expires = rfc3339(session.expires())
            },
            "the authority issued credentials"
        );
        Ok(Issued { session, token, packed_size })
    }

    /// The condition keys that tell of the call.
    fn describe_call(
        &self,
        wish: &Wish,
        tags: &Tags,
        source_identity: Option<&SourceIdentity>,
        connection: Option<&Connection>,
        context: &mut Context,
    ) {
        let now = self.clock.now();
        context.set(Key::global("aws:CurrentTime"), rfc3339(now));
        context.set(Key::global("aws:EpochTime"), epoch_seconds(now).to_string());
        context.set(Key::global("sts:RoleSessionName"), wish.session_name.as_str());
        if let Some(identity) = source_identity {
            context.set(Key::global("sts:SourceIdentity"), identity.as_str());
        }
        for (key, value) in tags.iter() {
            context.set(Key::request_tag(key.as_str()), value.as_str());
        }
        let keys = tags.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        context.set_all(Key::global("aws:TagKeys"), keys);
        let transitive = tags.transitive().map(|key| key.as_str().to_owned()).collect();
        context.set_all(Key::global("sts:TransitiveTagKeys"), transitive);
        if let Some(connection) = connection {
            // the socket's own peer: a forwarded address is anyone's word (A6)
            context.set(Key::global("aws:SourceIp"), connection.peer.ip().to_canonical().to_string());
            context.set(Key::global("aws:SecureTransport"), connection.tls.to_string());
        }
    }
}

impl Issued {
    /// The elements that every answer has.
    pub(super) fn write(&self, xml: &mut Xml) {
        let session = &self.session;
        xml.element("Credentials", |xml| {
            xml.text("AccessKeyId", &session.access_key_id);
            xml.text("SecretAccessKey", session.secret.expose());
            xml.text("SessionToken", self.token.expose());
            xml.text("Expiration", &rfc3339(session.expires()));
        });
        xml.element("AssumedRoleUser", |xml| {
            xml.text("AssumedRoleId", &session.id());
            xml.text("Arn", &session.arn());
        });
        if let Some(percent) = self.packed_size {
            xml.text("PackedPolicySize", &percent.to_string());
        }
        if let Some(identity) = &session.source_identity {
            xml.text("SourceIdentity", identity.as_str());
        }
    }
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    let seconds: u64 = text
        .parse()
        .map_err(|_| Refusal::constraint(Some(text), "durationSeconds", "Member must be a whole number of seconds"))?;
    let rule = match seconds {
        ..900 => "Member must have value greater than or equal to 900",
        900..=43200 => return Ok(Duration::from_secs(seconds)),
        _ => "Member must have value less than or equal to 43200",
    };
    Err(Refusal::constraint(Some(text), "durationSeconds", rule))
}

fn not_a_name(text: &str, parameter: &str) -> Refusal {
    let rule = r"Member must satisfy regular expression pattern: [\w+=,.@-]*";
    Refusal::constraint(Some(text), &member_name(parameter), rule)
}

/// STS's default for DurationSeconds.
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);
/// Of session policy and tags together, in bytes, as every signed request carries them in its session token. STS packs
/// and limits them too, in a format of its own.
const PACKED_LIMIT: usize = 4096;
