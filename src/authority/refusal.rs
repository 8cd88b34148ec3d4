//! What the STS answers when it refuses: AWS's codes, statuses and words.

use http::StatusCode;

/// A refusal in AWS's shape. The message goes to the caller, so it never holds a secret or a token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Constructors by AWS's code. The names on the wire are not always those of the SDKs' shapes.
impl Refusal {
    /// Not allowed by the role's trust policy, or no such role: the two read the same, so that nobody can list roles.
    pub(super) fn access_denied(message: impl Into<String>) -> Self {
        Self::forbidden("AccessDenied", message)
    }

    /// The token is not one of a registered provider's, or is not valid.
    pub(super) fn invalid_identity_token(message: impl Into<String>) -> Self {
        Self::bad("InvalidIdentityToken", message)
    }

    /// The token was valid once.
    pub(super) fn expired_token_exception(message: impl Into<String>) -> Self {
        Self::bad("ExpiredTokenException", message)
    }

    /// The token is the provider's, but a claim in it can't be used.
    pub(super) fn idp_rejected_claim(message: impl Into<String>) -> Self {
        Self::forbidden("IDPRejectedClaim", message)
    }

    /// The provider's keys can't be had now; SDKs try again.
    pub(super) fn idp_communication_error(message: impl Into<String>) -> Self {
        Self::bad("IDPCommunicationError", message)
    }

    pub(super) fn malformed_policy(message: impl Into<String>) -> Self {
        Self::bad("MalformedPolicyDocument", message)
    }

    pub(super) fn packed_policy_too_large(message: impl Into<String>) -> Self {
        Self::bad("PackedPolicyTooLarge", message)
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::bad("ValidationError", message)
    }

    /// One parameter breaks one rule of its model, in the words AWS's validator uses.
    pub(super) fn constraint(value: Option<&str>, member: &str, rule: &str) -> Self {
        let value =
            value.map_or_else(|| "null".to_owned(), |v| format!("'{}'", v.chars().take(200).collect::<String>()));
        Self::validation(format!(
            "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {rule}"
        ))
    }

    pub(super) fn invalid_action(action: &str, version: &str) -> Self {
        let action: String = action.chars().take(100).collect();
        let version: String = version.chars().take(20).collect();
        Self::bad("InvalidAction", format!("Could not find operation {action} for version {version}"))
    }

    pub(super) fn missing_action() -> Self {
        Self::bad("MissingAction", "The request is missing an action or a required parameter.")
    }

    pub(super) fn missing_authentication_token() -> Self {
        Self::forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
    }

    pub(super) fn invalid_client_token_id() -> Self {
        Self::forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
    }

    /// A session's credentials that have run out; not to be confused with [`Self::expired_token_exception`].
    pub(super) fn expired_token() -> Self {
        Self::forbidden("ExpiredToken", "The security token included in the request is expired")
    }

    pub(super) fn signature_does_not_match(message: impl Into<String>) -> Self {
        Self::forbidden("SignatureDoesNotMatch", message)
    }

    pub(super) fn incomplete_signature(message: impl Into<String>) -> Self {
        Self::bad("IncompleteSignature", message)
    }

    pub(super) fn too_large() -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Self::bad("RequestEntityTooLarge", "The request is too large.")
        }
    }

    /// More than we verify for at once; SDKs try again.
    #[cfg(feature = "saml")]
    pub(super) fn throttling() -> Self {
        Self::bad("Throttling", "Rate exceeded")
    }

    pub(super) fn internal() -> Self {
        let message = "We encountered an internal error. Please try again.";
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::bad("InternalFailure", message) }
    }

    /// Whose fault it is, in the answer's `Type`.
    pub(super) fn blame(&self) -> &'static str {
        if self.status.is_server_error() { "Receiver" } else { "Sender" }
    }

    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code, message: message.into() }
    }
}
