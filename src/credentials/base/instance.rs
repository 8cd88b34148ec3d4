//! The instance metadata service of EC2, in its second version only: the first gives keys to whoever can be made to send
//! a GET (A23; EC2 user guide, "Use IMDSv2").

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use url::Url;

use super::Found;
use super::document::{self, succeeded};
use crate::built_in::Environment;
use crate::fetch::{Fetch, FetchError, Reach};
use crate::tls::Trust;
use crate::web::BoxError;

/// The service.
#[derive(Debug)]
pub(super) struct Instance {
    endpoint: Url,
    fetch: Fetch,
}

impl Instance {
    /// What the environment says of it; none where it is turned off.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, String> {
        let value = |name: &str| environment.value(name).filter(|value| !value.is_empty());
        if value("AWS_EC2_METADATA_DISABLED").is_some_and(|disabled| disabled.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = match (value(ENDPOINT), value(MODE)) {
            (Some(endpoint), _) => endpoint,
            (None, None) => V4,
            (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv4") => V4,
            (None, Some(mode)) if mode.eq_ignore_ascii_case("ipv6") => V6,
            (None, Some(mode)) => return Err(format!("`{MODE}` is `{mode}`; expected IPv4 or IPv6")),
        };
        let endpoint = endpoint.parse().map_err(|e| format!("`{ENDPOINT}` is not a URL: {e}"))?;
        Ok(Some(Self { endpoint, fetch: Fetch::new(&Trust::system()) }))
    }

    pub(super) async fn find(&self) -> Result<Found, BoxError> {
        let lives = ("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static(TOKEN_LIVES));
        let token = self.ask(Method::PUT, "latest/api/token", lives).await?;
        succeeded(&token)?;
        let mut token = HeaderValue::from_bytes(token.body()).map_err(|_| "its token can't stand in a header")?;
        token.set_sensitive(true);
        let shown = || ("x-aws-ec2-metadata-token", token.clone());

        let roles = self.ask(Method::GET, ROLES, shown()).await?;
        succeeded(&roles).map_err(|e| format!("the instance has no role: {e}"))?;
        let role = std::str::from_utf8(roles.body()).ok().and_then(|text| text.lines().next()).map(str::trim);
        // it becomes part of a path
        let role = role.filter(|role| !role.is_empty() && role.bytes().all(is_name_byte));
        let role = role.ok_or("the instance's role has no name")?;
        document::read(&self.ask(Method::GET, &format!("{ROLES}{role}"), shown()).await?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        (name, value): (&'static str, HeaderValue),
    ) -> Result<Response<Bytes>, BoxError> {
        let request = Request::builder().method(method).uri(self.endpoint.join(path)?.as_str()).header(name, value);
        let answer: Result<_, FetchError> =
            self.fetch.send(request.body(Bytes::new())?, &Reach::MachineCredentials).await;
        Ok(answer?)
    }
}

/// Of a role's name (IAM API reference, `RoleName`).
fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)
}

const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const V4: &str = "http://169.254.169.254/";
const V6: &str = "http://[fd00:ec2::254]/";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
/// In seconds; it is asked for anew with the keys, once an hour or so.
const TOKEN_LIVES: &str = "60";
