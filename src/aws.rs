//! The AWS SDK's STS client: our way out, our endpoint, our timeouts, and nobody's credentials but those it is asked for.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Config, Credentials, IdentityCache, SharedCredentialsProvider};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::types;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use url::Url;

use crate::arn::{
    ExternalId, PolicyArn, Region, RoleArn, SamlProviderArn, SessionName, SourceIdentity, TagKey, TagValue,
};
use crate::fetch::Fetch;
use crate::secret::Secret;
use crate::tls::{TlsError, Trust};
use crate::web::BoxError;

pub(crate) mod way_out;

use way_out::WayOut;

/// A security token service: AWS's own in a region, or another at an endpoint.
#[derive(Clone, Debug)]
pub struct Sts {
    client: aws_sdk_sts::Client,
}

/// What AssumeRoleWithWebIdentity is asked.
#[derive(Clone, Copy, Debug)]
pub struct WebIdentity<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The role session's name.
    pub session_name: &'a SessionName,
    /// The OpenID Connect token.
    pub token: &'a Secret,
    /// In whole seconds; absent: not sent.
    pub duration: Option<Duration>,
    /// Session policies.
    pub bounds: Bounds<'a>,
}

/// Session policies: what the keys may at most, beside what the role may.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds<'a> {
    /// An IAM policy in JSON.
    pub policy: Option<&'a str>,
    /// Managed policies.
    pub policy_arns: &'a [PolicyArn],
}

/// What AssumeRoleWithSAML is asked. The role session's name, tags and source identity are in the response.
#[derive(Clone, Copy, Debug)]
pub struct Saml<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The provider registered with IAM that made the response.
    pub provider: &'a SamlProviderArn,
    /// The response in base64, as it was posted.
    pub response: &'a Secret,
    /// In whole seconds; absent: not sent.
    pub duration: Option<Duration>,
    /// Session policies.
    pub bounds: Bounds<'a>,
}

/// What AssumeRole is asked.
#[derive(Clone, Copy, Debug)]
pub struct Role<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The role session's name.
    pub session_name: &'a SessionName,
    /// In whole seconds; absent: not sent.
    pub duration: Option<Duration>,
    /// Session tags.
    pub tags: &'a [(TagKey, TagValue)],
    /// Which of them are passed on along role chains.
    pub transitive: &'a [TagKey],
    /// The source identity.
    pub source_identity: Option<&'a SourceIdentity>,
    /// What the role's owner has agreed on with us, against confused deputies.
    pub external_id: Option<&'a ExternalId>,
    /// Session policies.
    pub bounds: Bounds<'a>,
}

/// Keys that sign a call.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Secret,
    /// The session token; absent for keys that don't end.
    pub session_token: Option<Secret>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct AssumedRole {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Secret,
    /// The session token.
    pub session_token: Secret,
    /// When they end.
    pub expires: SystemTime,
    /// The role session's ARN; empty where the service does not say, as MinIO doesn't.
    pub role_session: String,
    /// The service's id for the call; empty where it has none.
    pub request_id: String,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum StsError {
    /// The service says that the token is too old.
    #[error("{code}: {message}")]
    TokenExpired {
        /// `ExpiredTokenException`, or another service's word for it.
        code: String,
        /// What it said.
        message: String,
    },
    /// The service said no.
    #[error("{code}: {message} (request {request_id})")]
    Refused {
        /// Its error code.
        code: String,
        /// What it said.
        message: String,
        /// Its id for the call.
        request_id: String,
    },
    /// It can't be reached, is overloaded, or its answer makes no sense.
    #[error("the security token service does not answer as it should")]
    Unavailable(#[source] BoxError),
}

impl Sts {
    /// A client. Nothing is sent yet.
    ///
    /// It knows no credentials, profiles or environment variables: a call that needs a signature can't borrow the
    /// machine's own identity (the confused deputy).
    ///
    /// # Errors
    /// The file of further roots to believe can't be read.
    pub fn new(region: &Region, endpoint: Option<&Url>, roots: Option<&Path>) -> Result<Self, TlsError> {
        let trust = roots.map_or_else(|| Ok(Trust::system()), Trust::with_file)?;
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE);
        let mut config = Config::builder();
        config.set_endpoint_url(endpoint.map(ToString::to_string));
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_sts::config::Region::new(region.as_str().to_owned()))
            .http_client(WayOut::client(Fetch::new(&trust)))
            .retry_config(retries)
            .timeout_config(timeouts)
            // keys are kept by who brings them, and each call has its own
            .identity_cache(IdentityCache::no_cache())
            .build();
        Ok(Self { client: aws_sdk_sts::Client::from_conf(config) })
    }

    /// AssumeRoleWithWebIdentity, unsigned: the token is the proof.
    ///
    /// # Errors
    /// [`StsError`], after three attempts where another may help.
    pub async fn assume_role_with_web_identity(&self, ask: WebIdentity<'_>) -> Result<AssumedRole, StsError> {
        let output = self
            .client
            .assume_role_with_web_identity()
            .role_arn(ask.role.as_str())
            .role_session_name(ask.session_name.as_str())
            .web_identity_token(ask.token.expose())
            .set_duration_seconds(seconds(ask.duration))
            .set_policy(ask.bounds.policy.map(str::to_owned))
            .set_policy_arns(ask.bounds.policy_arns())
            .send()
            .await
            .map_err(sorted)?;
        let request_id = output.request_id().unwrap_or_default().to_owned();
        AssumedRole::read(output.credentials, output.assumed_role_user, request_id)
    }

    /// AssumeRoleWithSAML, unsigned: the response is the proof.
    ///
    /// # Errors
    /// [`StsError`], after three attempts where another may help.
    pub async fn assume_role_with_saml(&self, ask: Saml<'_>) -> Result<AssumedRole, StsError> {
        let output = self
            .client
            .assume_role_with_saml()
            .role_arn(ask.role.as_str())
            .principal_arn(ask.provider.as_str())
            .saml_assertion(ask.response.expose())
            .set_duration_seconds(seconds(ask.duration))
            .set_policy(ask.bounds.policy.map(str::to_owned))
            .set_policy_arns(ask.bounds.policy_arns())
            .send()
            .await
            .map_err(sorted)?;
        let request_id = output.request_id().unwrap_or_default().to_owned();
        AssumedRole::read(output.credentials, output.assumed_role_user, request_id)
    }

    /// AssumeRole, signed with `keys`.
    ///
    /// # Errors
    /// [`StsError`], after three attempts where another may help.
    pub async fn assume_role(&self, ask: Role<'_>, keys: &Keys) -> Result<AssumedRole, StsError> {
        let tag =
            |(key, value): &(TagKey, TagValue)| types::Tag::builder().key(key.as_str()).value(value.as_str()).build();
        let tags: Vec<_> =
            ask.tags.iter().map(tag).collect::<Result<_, _>>().map_err(|e| StsError::Unavailable(e.into()))?;
        let transitive: Vec<_> = ask.transitive.iter().map(|key| key.as_str().to_owned()).collect();
        let token = keys.session_token.as_ref().map(|token| token.expose().to_owned());
        let signer = Credentials::new(&*keys.access_key_id, keys.secret_access_key.expose(), token, None, "claviger");
        let output = self
            .client
            .assume_role()
            .role_arn(ask.role.as_str())
            .role_session_name(ask.session_name.as_str())
            .set_duration_seconds(seconds(ask.duration))
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_transitive_tag_keys((!transitive.is_empty()).then_some(transitive))
            .set_source_identity(ask.source_identity.map(ToString::to_string))
            .set_external_id(ask.external_id.map(ToString::to_string))
            .set_policy(ask.bounds.policy.map(str::to_owned))
            .set_policy_arns(ask.bounds.policy_arns())
            .customize()
            .config_override(Config::builder().credentials_provider(SharedCredentialsProvider::new(signer)))
            .send()
            .await
            .map_err(sorted)?;
        let request_id = output.request_id().unwrap_or_default().to_owned();
        AssumedRole::read(output.credentials, output.assumed_role_user, request_id)
    }
}

impl Bounds<'_> {
    fn policy_arns(&self) -> Option<Vec<types::PolicyDescriptorType>> {
        let one = |arn: &PolicyArn| types::PolicyDescriptorType::builder().arn(arn.as_str()).build();
        (!self.policy_arns.is_empty()).then(|| self.policy_arns.iter().map(one).collect())
    }
}

impl AssumedRole {
    fn read(
        credentials: Option<types::Credentials>,
        user: Option<types::AssumedRoleUser>,
        request_id: String,
    ) -> Result<Self, StsError> {
        let role_session = user.map(|user| user.arn).unwrap_or_default();
        let without = || StsError::Unavailable("the answer has no usable credentials".into());
        let credentials = credentials.ok_or_else(without)?;
        let expires = SystemTime::try_from(credentials.expiration).map_err(|_| without())?;
        if credentials.access_key_id.is_empty() || credentials.secret_access_key.is_empty() {
            return Err(without());
        }
        Ok(Self {
            access_key_id: credentials.access_key_id,
            secret_access_key: Secret::new(credentials.secret_access_key),
            session_token: Secret::new(credentials.session_token),
            expires,
            role_session,
            request_id,
        })
    }
}

fn seconds(duration: Option<Duration>) -> Option<i32> {
    duration.map(|duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX))
}

/// Sorts an SDK error by what helps: a new login, nothing, or time.
fn sorted<E>(error: SdkError<E, HttpResponse>) -> StsError
where
    E: std::error::Error + ProvideErrorMetadata + RequestId + Send + Sync + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let Some(answer) = error.as_service_error() else {
        return StsError::Unavailable(match error {
            SdkError::TimeoutError(_) => "no answer in time".into(),
            error => error.into_source().unwrap_or_else(|error| error.to_string().into()),
        });
    };
    let request_id = answer.request_id().unwrap_or_default().to_owned();
    let (Some(code), message) = (answer.code(), answer.message().unwrap_or_default().to_owned()) else {
        return StsError::Unavailable(format!("HTTP status {status} without an error code").into());
    };
    let code = code.to_owned();
    if EXPIRED.contains(&&*code) || (VAGUE.contains(&&*code) && message.to_ascii_lowercase().contains("expired")) {
        StsError::TokenExpired { code, message }
    } else if status >= 500 || status == 429 || PASSING.contains(&&*code) || code.starts_with("Throttl") {
        StsError::Unavailable(format!("{code}: {message} (request {request_id})").into())
    } else {
        StsError::Refused { code, message, request_id }
    }
}

/// AWS's code, and the one of its common errors.
const EXPIRED: [&str; 2] = ["ExpiredTokenException", "ExpiredToken"];
/// Codes that stand for many things, of which an expired token is one; MinIO has only the second.
const VAGUE: [&str; 2] = ["InvalidIdentityToken", "InvalidParameterValue"];
/// 4xx codes that pass by themselves: STS could not fetch the issuer's keys, or has too much to do.
const PASSING: [&str; 6] = [
    "IDPCommunicationError",
    "RequestTimeout",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "RequestThrottled",
];

/// With exponential pauses between them.
const ATTEMPTS: u32 = 3;
/// Up to so long, by chance; the SDK's own second is long for a person who waits.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// For one attempt, connection included.
const ATTEMPT: Duration = Duration::from_secs(5);
/// For all of them, below the broker's own patience.
const OPERATION: Duration = Duration::from_secs(18);
