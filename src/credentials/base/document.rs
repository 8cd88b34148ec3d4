//! The document in which the container endpoint and the instance metadata service give keys.

use std::time::SystemTime;

use http::{Response, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Found;
use crate::aws::Keys;
use crate::secret::Secret;
use crate::web::BoxError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    /// Of the instance metadata service only, whose failures are answers with 200.
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// The keys of an answer. What an error quotes of it is its status or `Code` alone.
pub(super) fn read(answer: &Response<bytes::Bytes>) -> Result<Found, BoxError> {
    succeeded(answer)?;
    let document: Document =
        serde_json::from_slice(answer.body()).map_err(|_| "the answer is no document with keys")?;
    let Document { code, access_key_id, secret_access_key, token, expiration } = document;
    if let Some(code) = code.filter(|code| code != "Success") {
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        return Err(format!("it answered `{code}`").into());
    }
    let filled = |text: Option<String>, name: &str| {
        text.filter(|text| !text.is_empty()).ok_or_else(|| format!("the answer has no `{name}`"))
    };
    let keys = Keys {
        access_key_id: filled(access_key_id, "AccessKeyId")?,
        secret_access_key: Secret::new(filled(secret_access_key, "SecretAccessKey")?),
        session_token: Some(Secret::new(filled(token, "Token")?)),
    };
    let expires = OffsetDateTime::parse(&filled(expiration, "Expiration")?, &Rfc3339);
    let expires = expires.map_err(|_| "its `Expiration` is not a time such as 2016-02-25T06:03:31Z")?;
    Ok(Found { keys, expires: SystemTime::from(expires) })
}

/// A redirect is no success: keys come from where they were asked for.
pub(super) fn succeeded(answer: &Response<bytes::Bytes>) -> Result<(), BoxError> {
    match answer.status() {
        StatusCode::OK => Ok(()),
        status => Err(format!("it answered with status {}", status.as_u16()).into()),
    }
}
