//! What is asked of every issuer of tokens, whoever shows them.

use url::{Host, Url};

use crate::built_in::SettingsError;
use crate::web::is_loopback;

/// The host of an issuer, or of its key set. Plain http is for this machine only: whoever stands on the way could be
/// anyone (OpenID Connect Core §16.17).
pub(super) fn check(key: &str, url: &Url) -> Result<String, SettingsError> {
    let wrong = |problem: &str| Err(SettingsError::at(key, format!("`{url}` {problem}")));
    let Some(host) = url.host() else { return wrong("has no host; it should be an https URL") };
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("has a query or a fragment, which an issuer never has (OpenID Connect Discovery §2)");
    }
    match url.scheme() {
        "https" => Ok(bare(&host)),
        "http" if is_loopback(&host) => Ok(bare(&host)),
        _ => wrong("is not https; plain http is for loopback addresses only"),
    }
}

/// Whether a text names a subject: 1 to 255 printable ASCII characters (OpenID Connect Core §2).
pub(super) fn is_subject(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && id.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// As a name to look up: an IPv6 address without its brackets.
fn bare(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}
