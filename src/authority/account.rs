//! The AWS account that this STS speaks for: whom it knows and which roles there are.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use url::Url;

#[cfg(feature = "saml")]
use super::saml::SamlProvider;
use super::trust::{Known, PolicyError, TrustPolicy};
use crate::arn::{AccountId, Region, RoleArn};
use crate::built_in::SettingsError;
use crate::secret::Secret;
use crate::web::is_loopback;

/// An AWS account: its OpenID and SAML providers, roles and users. Built by the config's `[authority]` section
/// ([`AuthoritySettings::account`](super::AuthoritySettings::account)) or by code.
#[derive(Debug)]
pub struct Account {
    pub(super) id: AccountId,
    pub(super) region: Region,
    pub(super) providers: Vec<Provider>,
    #[cfg(feature = "saml")]
    pub(super) saml_providers: Vec<SamlProvider>,
    pub(super) roles: BTreeMap<RoleArn, Role>,
    /// By access key id.
    pub(super) users: HashMap<String, User>,
    pub(super) verdict_token: Option<Secret>,
}

/// An OpenID provider whose tokens are taken for some audiences.
#[derive(Debug)]
pub(super) struct Provider {
    /// As the tokens write it.
    pub(super) issuer: String,
    pub(super) url: Url,
    /// `host/path`: the end of its ARN, and the prefix of its claims' condition keys.
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) audiences: Vec<String>,
}

/// A role and who may assume it.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) arn: RoleArn,
    /// The unique id, `AROA…`.
    pub(super) id: String,
    pub(super) trust: TrustPolicy,
    pub(super) max_session_duration: Duration,
}

/// A user with a long-term key.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) arn: String,
    /// The unique id, `AIDA…`.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// A trust policy as its owner wrote it.
#[derive(Clone, Debug)]
pub enum PolicyText {
    /// A JSON document.
    Json(String),
    /// The same shape as a TOML table.
    Table(toml::Table),
}

impl Account {
    /// An account that knows nobody yet. Calls must be signed for `region`.
    pub fn new(id: AccountId, region: Region) -> Self {
        Self {
            id,
            region,
            providers: Vec::new(),
            #[cfg(feature = "saml")]
            saml_providers: Vec::new(),
            roles: BTreeMap::new(),
            users: HashMap::new(),
            verdict_token: None,
        }
    }

    /// Registers an OpenID provider (IAM `CreateOpenIDConnectProvider`) and gives its ARN. Providers come before the
    /// roles that trust them.
    ///
    /// # Errors
    /// An issuer that is not https (http is for loopback only) or is there already; no audience.
    pub fn add_provider(&mut self, issuer: &str, audiences: Vec<String>) -> Result<String, SettingsError> {
        let bad = |problem: &str| Err(SettingsError::at("issuer", format!("`{issuer}` {problem}")));
        let Ok(url) = Url::parse(issuer) else { return bad("is not a URL") };
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return bad("has a user, query or fragment, which no issuer has (OpenID Connect Discovery §3)");
        }
        let Some(host) = url.host() else { return bad("has no host") };
        // keys fetched over plain http could be anyone's (A19)
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&host)) {
            return bad("is not https; http is for loopback only");
        }
        if audiences.is_empty() {
            return Err(SettingsError::at("audiences", "there is none; expected the client ids that tokens are for"));
        }
        let name = issuer.split_once("://").map_or(issuer, |(_, rest)| rest).trim_end_matches('/').to_owned();
        if self.providers.iter().any(|known| known.name == name) {
            return bad("is registered already");
        }
        let arn = format!("arn:aws:iam::{}:oidc-provider/{name}", self.id);
        self.providers.push(Provider { issuer: issuer.to_owned(), url, name, arn: arn.clone(), audiences });
        Ok(arn)
    }

    /// Registers a SAML provider by its metadata (IAM `CreateSAMLProvider`) and gives its ARN. Its assertions are for AWS's
    /// own Recipient and audiences; `recipients` and `audiences` are taken beside them. Providers come before the roles
    /// that trust them.
    ///
    /// # Errors
    /// A name that is none or taken; metadata that is refused, or of no identity provider.
    #[cfg(feature = "saml")]
    pub fn add_saml_provider(
        &mut self,
        name: &str,
        metadata: &[u8],
        recipients: &[String],
        audiences: &[String],
    ) -> Result<String, SettingsError> {
        let is_name = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !is_name {
            let expected = "expected 1 to 128 of A-Z a-z 0-9 . _ -";
            return Err(SettingsError::at("", format!("`{name}` is no name of a SAML provider; {expected}")));
        }
        if self.saml_providers.iter().any(|known| known.name == name) {
            return Err(SettingsError::at("", format!("there is a SAML provider `{name}` already")));
        }
        let arn = format!("arn:aws:iam::{}:saml-provider/{name}", self.id);
        let provider = SamlProvider::read(name, arn.clone(), metadata, recipients, audiences);
        self.saml_providers.push(provider.map_err(|problem| SettingsError::at("metadata_file", problem))?);
        Ok(arn)
    }

    /// Adds a role (IAM `CreateRole`). `name` may have a path before it: `team/reports`.
    ///
    /// # Errors
    /// A name that is none or taken, a duration that is not 1 to 12 hours, a trust policy that is not understood.
    pub fn add_role(
        &mut self,
        name: &str,
        trust: PolicyText,
        max_session_duration: Duration,
    ) -> Result<RoleArn, SettingsError> {
        let arn: RoleArn = format!("arn:aws:iam::{}:role/{name}", self.id)
            .parse()
            .map_err(|problem| SettingsError::at("", problem))?;
        if !MAX_SESSION_DURATIONS.contains(&max_session_duration) {
            return Err(SettingsError::at("max_session_duration", "expected 3600 to 43200 seconds"));
        }
        let names: Vec<String> = self.providers.iter().map(|p| p.name.clone()).collect();
        let arns = self.providers.iter().map(|p| p.arn.clone());
        #[cfg(feature = "saml")]
        let arns = arns.chain(self.saml_providers.iter().map(|p| p.arn.clone()));
        let arns: Vec<String> = arns.collect();
        let known = Known { providers: &names, provider_arns: &arns };
        let read = match trust {
            PolicyText::Json(text) => TrustPolicy::from_json(&text, known),
            PolicyText::Table(table) => TrustPolicy::from_table(table, known),
        };
        let trust = read.map_err(|problem: PolicyError| SettingsError::at("trust_policy", problem))?;
        // sessions name their role without its path, so IAM has each name once in an account
        if self.roles.keys().any(|known| known.role_name().eq_ignore_ascii_case(arn.role_name())) {
            return Err(SettingsError::at("", format!("there is a role `{}` already", arn.role_name())));
        }
        let id = unique_id("AROA", arn.as_str());
        self.roles.insert(arn.clone(), Role { arn: arn.clone(), id, trust, max_session_duration });
        Ok(arn)
    }

    /// Adds a user with a long-term key (IAM `CreateUser`, `CreateAccessKey`).
    ///
    /// # Errors
    /// A name or access key id that is none, or is taken.
    pub fn add_user(&mut self, name: &str, access_key_id: &str, secret: Secret) -> Result<(), SettingsError> {
        if !is_user_name(name) {
            return Err(SettingsError::at("", format!("`{name}` is no user name; expected A-Z a-z 0-9 _ + = , . @ -")));
        }
        // AccessKeyId is 16 to 128 of \w; ASIA is for sessions
        let is_key = (16..=128).contains(&access_key_id.len())
            && access_key_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !access_key_id.starts_with(SESSION_PREFIX);
        if !is_key {
            let expected = "expected 16 to 128 letters, digits or _, not starting with ASIA";
            return Err(SettingsError::at(
                "access_key_id",
                format!("`{access_key_id}` is no access key id; {expected}"),
            ));
        }
        if self.users.contains_key(access_key_id) || self.users.values().any(|user| user.name == name) {
            return Err(SettingsError::at("", "this user or access key id is there already"));
        }
        let arn = format!("arn:aws:iam::{}:user/{name}", self.id);
        let user = User { id: unique_id("AIDA", &arn), arn, name: name.to_owned(), secret };
        self.users.insert(access_key_id.to_owned(), user);
        Ok(())
    }

    /// The token that services show to have signatures judged at `/verdict`; without one nobody can.
    pub fn set_verdict_token(&mut self, token: Secret) {
        self.verdict_token = Some(token);
    }
}

/// A unique id as IAM makes them: a prefix and 17 characters, the same at every start.
fn unique_id(prefix: &str, arn: &str) -> String {
    let digest = digest(&SHA256, arn.as_bytes());
    prefix.chars().chain(base32(digest.as_ref()).take(17)).collect()
}

/// One character of RFC 4648's base32 alphabet for each byte, from its lower five bits.
pub(super) fn base32(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|byte| match byte & 31 {
        n @ 0..26 => char::from(b'A' + n),
        n => char::from(b'2' + n - 26),
    })
}

fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-'))
}

/// Access key ids of sessions start so.
pub(super) const SESSION_PREFIX: &str = "ASIA";
/// IAM's bounds for a role's MaxSessionDuration.
const MAX_SESSION_DURATIONS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(43200);

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap())
    }

    #[test]
    fn providers_are_named_by_host_and_path() {
        let mut account = account();
        let arn = account.add_provider("https://idp.example.com/realms/corp", vec!["app".to_owned()]).unwrap();
        assert_eq!(arn, "arn:aws:iam::123456789012:oidc-provider/idp.example.com/realms/corp");
        for issuer in ["http://127.0.0.1:8080/issuer", "http://login.localhost:8080/.claviger/issuer"] {
            assert!(account.add_provider(issuer, vec!["app".to_owned()]).is_ok(), "{issuer}");
        }
        for issuer in [
            "http://idp.example.com",
            "http://notlocalhost",
            "http://localhost.example.com",
            "https://idp.example.com/realms/corp/",
            "https://user@idp.example.com",
            "https://idp.example.com?x",
            "https://idp.example.com/#x",
            "ftp://127.0.0.1",
            "idp.example.com",
        ] {
            assert!(account.add_provider(issuer, vec!["app".to_owned()]).is_err(), "{issuer}");
        }
        assert_eq!(account.add_provider("https://new.example.com", Vec::new()).unwrap_err().key, "audiences");
    }

    #[test]
    fn roles_and_users_are_checked() {
        let mut account = account();
        let trust = || {
            PolicyText::Json(r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#.to_owned())
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(account.add_role("a/reports", trust(), hour).unwrap().role_name(), "reports");
        assert!(account.add_role("b/Reports", trust(), hour).is_err());
        assert!(account.add_role("x*", trust(), hour).is_err());
        assert_eq!(account.add_role("x", trust(), hour / 2).unwrap_err().key, "max_session_duration");
        let bad = PolicyText::Json("{}".to_owned());
        assert_eq!(account.add_role("x", bad, hour).unwrap_err().key, "trust_policy");
        account.add_user("ci", "AKIAIOSFODNN7EXAMPLE", Secret::new("s")).unwrap();
        assert!(account.add_user("ci2", "AKIAIOSFODNN7EXAMPLE", Secret::new("s")).is_err());
        assert!(account.add_user("ci", "AKIAIOSFODNN7EXAMPL2", Secret::new("s")).is_err());
        assert!(account.add_user("ci2", "ASIAIOSFODNN7EXAMPLE", Secret::new("s")).is_err());
    }

    #[test]
    fn unique_ids_are_stable_and_shaped() {
        let id = unique_id("AROA", "arn:aws:iam::123456789012:role/x");
        assert_eq!(id.len(), 21);
        assert_eq!(id, unique_id("AROA", "arn:aws:iam::123456789012:role/x"));
        assert!(id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{id}");
    }
}
