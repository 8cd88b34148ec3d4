//! AssumeRole, for signed callers, and GetCallerIdentity.

use std::time::Duration;

use http::request;

use super::Authority;
use super::assume::{Candidate, Issued, Wish, source_identity};
use super::caller::Caller;
use super::query::Query;
use super::refusal::Refusal;
use super::tags::Tags;
use super::trust::{Context, Key};
use crate::web::Connection;
use crate::web::xml::Xml;

impl Authority {
    pub(super) fn assume_role(
        &self,
        head: &request::Parts,
        body: &[u8],
        mut query: Query,
        connection: &Connection,
        request_id: &str,
    ) -> Result<Issued, Refusal> {
        let caller = self.caller(head, body)?;
        let wish = Wish::read(&mut query)?;
        let external_id = query.optional_text("ExternalId", 2, 1224)?;
        let source_identity = source_identity(&mut query)?;
        let tags = Tags::from_query(&mut query)?;
        query.finish()?;

        let arn = caller.arn();
        let role = wish.role.clone();
        let denied = |action: &str| {
            let message = format!("User: {arn} is not authorized to perform: {action} on resource: {role}");
            Refusal::access_denied(message)
        };
        let (tags, source_identity) = match &caller {
            Caller::User(_) => (tags, source_identity),
            Caller::Session(session) => {
                // CVE-2025-62506 class: no way out of a narrower session. What its policy allows is for an IAM evaluator
                // to say, and here is none (A30).
                if session.policy.is_some() {
                    let reason = "because no session policy allows the sts:AssumeRole action";
                    let message = denied("sts:AssumeRole").message;
                    return Err(Refusal::access_denied(format!("{message} {reason}")));
                }
                if wish.duration > CHAINED {
                    let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
                                   role chaining.";
                    return Err(Refusal::validation(message));
                }
                // who somebody is can be said once, and stays
                let inherited = session.source_identity.clone();
                if inherited.is_some() && source_identity.is_some() && source_identity != inherited {
                    return Err(denied("sts:SetSourceIdentity"));
                }
                (tags.inheriting(&session.tags)?, inherited.or(source_identity))
            }
        };
        let mut context = Context::default();
        caller.describe(&self.account.id, &mut context);
        if let Some(external_id) = external_id {
            context.set(Key::global("sts:ExternalId"), external_id);
        }
        let candidate = Candidate {
            wish,
            action: "sts:AssumeRole",
            asker: caller.asker(&self.account.id, &arn),
            tags,
            source_identity,
            federated: caller.session().and_then(|session| session.federated.clone()),
            context,
        };
        self.assume(candidate, denied, connection, request_id)
    }

    pub(super) fn write_caller_identity(&self, caller: &Caller<'_>, xml: &mut Xml) {
        xml.text("Arn", &caller.arn());
        xml.text("UserId", &caller.id());
        xml.text("Account", self.account.id.as_str());
    }
}

/// STS: a role assumed by a role's session lasts an hour at most, whatever the role allows.
const CHAINED: Duration = Duration::from_secs(3600);
