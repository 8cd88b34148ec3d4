//! The container credentials endpoint, of ECS and of the EKS pod identity agent (AWS SDKs reference, "Container
//! credential provider").

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use url::Url;

use super::{Found, document, file};
use crate::built_in::Environment;
use crate::fetch::{Fetch, Reach};
use crate::secret::Secret;
use crate::tls::Trust;
use crate::web::BoxError;

/// The endpoint, and what it wants to see.
#[derive(Debug)]
pub(super) struct Container {
    url: Url,
    authorization: Authorization,
    fetch: Fetch,
}

#[derive(Debug)]
enum Authorization {
    None,
    Value(Secret),
    /// Read anew each time, as it is replaced.
    File(String),
}

impl Container {
    /// What the environment says of it; none where it says nothing.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, String> {
        let value = |name: &str| environment.value(name).filter(|value| !value.is_empty());
        let url = match (value(RELATIVE), value(FULL)) {
            (Some(path), _) if path.starts_with('/') => format!("{ECS}{path}"),
            (Some(_), _) => return Err(format!("`{RELATIVE}` is not a path; expected one that begins with /")),
            (None, Some(url)) => url.to_owned(),
            (None, None) => return Ok(None),
        };
        let url: Url = url.parse().map_err(|e| format!("`{FULL}` is not a URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{FULL}` is neither http nor https"));
        }
        let authorization = match (value("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), value(TOKEN)) {
            (Some(file), _) => Authorization::File(file.to_owned()),
            (None, Some(token)) => Authorization::Value(Secret::new(token)),
            (None, None) => Authorization::None,
        };
        Ok(Some(Self { url, authorization, fetch: Fetch::new(&Trust::system()) }))
    }

    pub(super) async fn find(&self) -> Result<Found, BoxError> {
        let mut request = Request::get(self.url.as_str()).header(header::ACCEPT, "application/json");
        let read;
        let token = match &self.authorization {
            Authorization::None => None,
            Authorization::Value(token) => Some(token),
            Authorization::File(path) => {
                read = file::secret(path).await?;
                Some(&read)
            }
        };
        if let Some(token) = token {
            // as it is, without a scheme; a line end in it would be a header of its own (A3)
            let value = HeaderValue::from_str(token.expose());
            let mut value = value.map_err(|_| "the container's authorization token can't stand in a header")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        // keys in clear text come from this machine and the agents' own addresses only (A19)
        let reach = if self.url.scheme() == "https" { Reach::Configured } else { Reach::MachineCredentials };
        document::read(&self.fetch.send(request.body(Bytes::new())?, &reach).await?)
    }
}

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
/// Where relative addresses begin.
const ECS: &str = "http://169.254.170.2";
