//! The `[authority]` section of the config.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::account::{Account, PolicyText};
use crate::arn::{AccountId, Region};
use crate::built_in::{SecretSource, SettingsError, Surroundings};

/// The `[authority]` section: one AWS account.
///
/// ```toml
/// [authority]
/// account = "123456789012"
/// region = "eu-west-1"
/// verdict_token = { env = "VERDICT_TOKEN" }
///
/// [authority.provider.corp]
/// issuer = "https://idp.example.com/realms/corp"
/// audiences = ["claviger"]
///
/// [authority.saml_provider.corp]
/// metadata_file = "idp.xml"
///
/// [authority.role.reports]
/// max_session_duration = 7200
/// trust_policy = { file = "reports-trust.json" }
///
/// [authority.user.ci]
/// access_key_id = "AKIAIOSFODNN7EXAMPLE"
/// secret_access_key = { file = "ci.secret" }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthoritySettings {
    /// The account's number.
    pub account: AccountId,
    /// The region that calls must be signed for.
    pub region: Region,
    /// What a service shows to have signatures judged at `/verdict`. Without it nobody can.
    pub verdict_token: Option<SecretSource>,
    /// OpenID providers whose tokens may be exchanged.
    #[serde(default)]
    pub provider: BTreeMap<String, ProviderSettings>,
    /// SAML providers whose assertions may be exchanged, by the names that their ARNs end in.
    #[cfg(feature = "saml")]
    #[serde(default)]
    pub saml_provider: BTreeMap<String, SamlProviderSettings>,
    /// Roles, by their name or path and name.
    #[serde(default)]
    pub role: BTreeMap<String, RoleSettings>,
    /// Users with long-term keys, by their name.
    #[serde(default)]
    pub user: BTreeMap<String, UserSettings>,
}

/// One `[authority.provider.<name>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// The issuer's URL, to the letter as its tokens write it.
    pub issuer: String,
    /// The audiences (client ids) whose tokens are taken.
    pub audiences: Vec<String>,
}

/// One `[authority.saml_provider.<name>]`.
#[cfg(feature = "saml")]
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamlProviderSettings {
    /// Its metadata, relative to the config file. The certificates in it are the only ones that count.
    pub metadata_file: PathBuf,
    /// Recipients that are taken beside `https://signin.aws.amazon.com/saml`: where a provider can send nobody there, the
    /// address of the application that it signs in at.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Audiences that are taken beside `urn:amazon:webservices` and `https://signin.aws.amazon.com/saml`.
    #[serde(default)]
    pub audiences: Vec<String>,
}

/// One `[authority.role.<name>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSettings {
    /// Who may assume it: JSON text, the same as a table, or `{ file = "…" }`.
    pub trust_policy: PolicySource,
    /// In seconds, 3600 to 43200; 3600 by default, as in IAM.
    #[serde(default = "hour")]
    pub max_session_duration: u64,
}

/// One `[authority.user.<name>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    /// 16 to 128 letters, digits or `_`; `AKIA…` by custom.
    pub access_key_id: String,
    /// Where its secret is.
    pub secret_access_key: SecretSource,
}

/// Where a policy is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum PolicySource {
    /// As JSON, in the config.
    Json(String),
    /// In a file of JSON, relative to the config file.
    File(PolicyFile),
    /// As a table, in the config.
    Table(toml::Table),
}

/// `{ file = "…" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// The path, relative to the config file.
    pub file: PathBuf,
}

impl AuthoritySettings {
    /// The account that the section describes.
    ///
    /// # Errors
    /// Every problem there is, each with its key below the section.
    pub fn account(&self, surroundings: &Surroundings) -> Result<Account, Vec<SettingsError>> {
        let mut account = Account::new(self.account.clone(), self.region.clone());
        let mut problems = Vec::new();
        for (name, settings) in &self.provider {
            let added = account.add_provider(&settings.issuer, settings.audiences.clone());
            problems.extend(added.err().map(|e| below(&format!("provider.{name}"), e)));
        }
        #[cfg(feature = "saml")]
        for (name, settings) in &self.saml_provider {
            let added = settings.add(name, &mut account, surroundings);
            problems.extend(added.err().map(|e| below(&format!("saml_provider.{name}"), e)));
        }
        for (name, settings) in &self.role {
            let duration = Duration::from_secs(settings.max_session_duration);
            let added =
                settings.trust_policy.read(surroundings).and_then(|trust| account.add_role(name, trust, duration));
            problems.extend(added.err().map(|e| below(&format!("role.{name}"), e)));
        }
        for (name, settings) in &self.user {
            let secret = settings.secret_access_key.read(surroundings);
            let added = secret
                .map_err(|problem| SettingsError::at("secret_access_key", problem))
                .and_then(|secret| account.add_user(name, &settings.access_key_id, secret));
            problems.extend(added.err().map(|e| below(&format!("user.{name}"), e)));
        }
        match self.verdict_token.as_ref().map(|source| source.read(surroundings)) {
            Some(Ok(token)) => account.set_verdict_token(token),
            Some(Err(problem)) => problems.push(SettingsError::at("verdict_token", problem)),
            None => {}
        }
        if problems.is_empty() { Ok(account) } else { Err(problems) }
    }
}

#[cfg(feature = "saml")]
impl SamlProviderSettings {
    fn add(&self, name: &str, account: &mut Account, surroundings: &Surroundings) -> Result<String, SettingsError> {
        let path = surroundings.path(&self.metadata_file);
        let metadata = std::fs::read(&path).map_err(|e| {
            SettingsError::at("metadata_file", format!("the file `{}` can't be read: {e}", path.display()))
        })?;
        account.add_saml_provider(name, &metadata, &self.recipients, &self.audiences)
    }
}

impl PolicySource {
    fn read(&self, surroundings: &Surroundings) -> Result<PolicyText, SettingsError> {
        match self {
            Self::Json(text) => Ok(PolicyText::Json(text.clone())),
            Self::Table(table) => Ok(PolicyText::Table(table.clone())),
            Self::File(PolicyFile { file }) => {
                let path = surroundings.path(file);
                let text = std::fs::read_to_string(&path).map_err(|e| {
                    SettingsError::at("trust_policy", format!("the file `{}` can't be read: {e}", path.display()))
                })?;
                Ok(PolicyText::Json(text))
            }
        }
    }
}

fn below(section: &str, error: SettingsError) -> SettingsError {
    let key = if error.key.is_empty() { section.to_owned() } else { format!("{section}.{}", error.key) };
    SettingsError { key, ..error }
}

fn hour() -> u64 {
    3600
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::{Environment, parse_table};

    fn surroundings(folder: &std::path::Path) -> Surroundings {
        let environment = [("TOKEN".to_owned(), "canary".to_owned())].into_iter().collect::<Environment>();
        Surroundings::new(folder, environment)
    }

    #[test]
    fn a_section_becomes_an_account() {
        let folder = tempfile::tempdir().unwrap();
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
        std::fs::write(folder.path().join("trust.json"), trust).unwrap();
        let table = toml::toml! {
            account = "123456789012"
            region = "eu-west-1"
            verdict_token = { env = "TOKEN" }
            [provider.corp]
            issuer = "https://idp.example.com"
            audiences = ["claviger"]
            [role.by-file]
            trust_policy = { file = "trust.json" }
            [role."team/by-text"]
            max_session_duration = 7200
            trust_policy = "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"sts:AssumeRole\"}}"
            [role.by-table.trust_policy.Statement]
            Effect = "Allow"
            Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/idp.example.com" }
            Action = "sts:AssumeRoleWithWebIdentity"
            Condition = { StringEquals = { "idp.example.com:aud" = "claviger" } }
            [user.ci]
            access_key_id = "AKIAIOSFODNN7EXAMPLE"
            secret_access_key = { env = "TOKEN" }
        };
        let settings: AuthoritySettings = parse_table(table).unwrap();
        let account = settings.account(&surroundings(folder.path())).unwrap();
        let roles: Vec<&str> = account.roles.keys().map(|arn| arn.role_name()).collect();
        assert_eq!(roles, ["by-file", "by-table", "by-text"]);
        assert!(!format!("{settings:?} {account:?}").contains("canary"));
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let table = toml::toml! {
            account = "123456789012"
            region = "eu-west-1"
            verdict_token = { env = "MISSING" }
            [provider.corp]
            issuer = "http://idp.example.com"
            audiences = ["claviger"]
            [saml_provider.corp]
            metadata_file = "missing.xml"
            [role.one]
            trust_policy = { file = "missing.json" }
            [role.two]
            trust_policy = { Statement = { Effect = "Allow", Principal = "*", Action = "s3:*" } }
            [user.ci]
            access_key_id = "short"
            secret_access_key = { env = "TOKEN" }
        };
        let settings: AuthoritySettings = parse_table(table).unwrap();
        let problems = settings.account(&surroundings(std::path::Path::new("/nowhere"))).unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        let expected = [
            "provider.corp.issuer",
            "saml_provider.corp.metadata_file",
            "role.one.trust_policy",
            "role.two.trust_policy",
            "user.ci.access_key_id",
            "verdict_token",
        ];
        assert_eq!(keys, expected);
        let unknown = toml::toml! { account = "123456789012" region = "eu-west-1" regio = "x" };
        assert!(parse_table::<AuthoritySettings>(unknown).unwrap_err().to_string().contains("regio"));
    }
}
