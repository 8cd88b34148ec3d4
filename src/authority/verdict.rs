//! `POST /verdict`: a service that trusts this STS asks whether a signature is right, and whose it is.
//!
//! AWS's own services ask each other this out of sight; here it has a small shape of its own. The question is JSON with
//! `access_key_id`, `session_token` (or null), `scope`, `string_to_sign` and `signature`. The answer has a `verdict`:
//! `ok` together with the `caller`, or one of `InvalidAccessKeyId`, `InvalidToken`, `ExpiredToken`,
//! `SignatureDoesNotMatch`. Secrets never leave. Whether the string to sign is that of the request it came with, and
//! whether its time is now, is for the service to see: it has the request.

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Authority;
use super::caller::{Caller, KeyFault};
use crate::clock::rfc3339;
use crate::sigv4::{self, Scope};
use crate::web::{self, Response};

/// What a service has to say about a signed request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    access_key_id: String,
    session_token: Option<String>,
    scope: Scope,
    string_to_sign: String,
    signature: String,
}

impl Authority {
    /// Answers one question, for those who show the verdict token: this must not be an oracle for everyone.
    pub(super) fn verdict(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let expected = self.account.verdict_token.as_ref();
        if !expected.zip(bearer(headers)).is_some_and(|(expected, token)| expected.matches(token)) {
            return web::json(StatusCode::UNAUTHORIZED, &json!({"error": "a verdict needs the verdict token"}));
        }
        let Ok(question) = serde_json::from_slice::<Question>(body) else {
            return web::json(StatusCode::BAD_REQUEST, &json!({"error": "not a question as documented"}));
        };
        let answer = match self.judge(&question) {
            Ok(caller) => {
                self.calls.count("Verdict", "ok");
                json!({"verdict": "ok", "caller": self.public(&question.access_key_id, &caller)})
            }
            Err(code) => {
                self.calls.count("Verdict", code);
                json!({"verdict": code})
            }
        };
        web::json(StatusCode::OK, &answer)
    }

    fn judge(&self, question: &Question) -> Result<Caller<'_>, &'static str> {
        let holder = self.holder(&question.access_key_id, question.session_token.as_deref());
        let caller = holder.map_err(|fault| match fault {
            KeyFault::Unknown => "InvalidAccessKeyId",
            KeyFault::WrongToken => "InvalidToken",
            KeyFault::Expired => "ExpiredToken",
        })?;
        if sigv4::check(caller.secret(), &question.scope, &question.string_to_sign, &question.signature) {
            Ok(caller)
        } else {
            Err("SignatureDoesNotMatch")
        }
    }

    /// All that a service may know of a caller.
    fn public(&self, access_key_id: &str, caller: &Caller<'_>) -> Value {
        let (arn, id) = (caller.arn(), caller.id());
        match caller {
            Caller::User(user) => json!({
                "account": self.account.id, "arn": arn, "id": id, "access_key_id": access_key_id, "user": user.name,
            }),
            Caller::Session(session) => {
                let tags: Map<String, Value> =
                    session.tags.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
                json!({
                    "account": self.account.id,
                    "arn": arn,
                    "id": id,
                    "access_key_id": access_key_id,
                    "role": session.role,
                    "session_name": session.name,
                    "tags": tags,
                    "source_identity": session.source_identity,
                    "subject": session.federated.as_ref().map(|f| &f.subject),
                    "provider": session.federated.as_ref().map(|f| &f.provider),
                    "session_policy": session.policy,
                    "expires": rfc3339(session.expires()),
                })
            }
        }
    }
}

/// The one bearer token of a request; two are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
