//! `[provider.saml]` as the config file has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::party::{AwsAttributes, RelyingParty, Signs};
use super::{SamlSetup, subject};
use crate::built_in::{SecretSource, SettingsError, Surroundings};
use crate::saml::{Certificate, SigningKey};

/// The `[provider.saml]` section: the same users for those who speak SAML.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamlSettings {
    /// The entity ID; `<issuer>/saml/metadata` by default, where the metadata is.
    #[serde(default)]
    pub entity_id: Option<String>,
    /// What it signs by: the first does, all are in its metadata. Without one its metadata changes at every start.
    #[serde(default)]
    pub signing: Vec<PairSettings>,
    /// Who may ask, by any name.
    #[serde(default)]
    pub party: BTreeMap<String, PartySettings>,
}

/// A private key and the certificate of it, PEM: RSA or P-256.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSettings {
    /// The key, PKCS#8.
    pub key: SecretSource,
    /// The certificate, relative to the config file.
    pub certificate: PathBuf,
}

/// A `[provider.saml.party.<name>]` section: by `metadata_file`, or by `entity_id` and `acs_url`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartySettings {
    /// How pages call it; the section's name by default.
    #[serde(default)]
    pub name: Option<String>,
    /// Its metadata, relative to the config file.
    #[serde(default)]
    pub metadata_file: Option<PathBuf>,
    /// Its entity ID.
    #[serde(default)]
    pub entity_id: Option<String>,
    /// Where Responses are posted.
    #[serde(default)]
    pub acs_url: Option<String>,
    /// Where logout messages are posted; it needs `certificates`.
    #[serde(default)]
    pub logout_url: Option<String>,
    /// What its messages are signed by, and assertions encrypted to: PEM files, relative to the config file.
    #[serde(default)]
    pub certificates: Vec<PathBuf>,
    /// What of a Response is signed: `assertion`, `response` or `both`.
    #[serde(default)]
    pub signs: Signs,
    /// Whether assertions are encrypted to its certificate.
    #[serde(default)]
    pub encrypt: bool,
    /// The NameIDs it gets where it asks for none: `persistent`, `transient`, `emailAddress`, `unspecified` (the user's
    /// name).
    #[serde(default)]
    pub name_id_format: Option<String>,
    /// The Recipient of assertions, where it is not the address they are sent to: AWS's, for who hands them on.
    #[serde(default)]
    pub recipient: Option<String>,
    /// The audience of assertions, where it is not its entity ID.
    #[serde(default)]
    pub audience: Option<String>,
    /// Attributes by name, each with the claim it is of. Absent: every claim under its own name.
    #[serde(default)]
    pub attributes: Option<BTreeMap<String, String>>,
    /// What AWS wants to be told.
    #[serde(default)]
    pub aws: Option<AwsAttributes>,
}

impl SamlSettings {
    /// Reads the section and all that it names. Keys of errors are below `[provider]`.
    pub(in crate::provider) fn read(&self, surroundings: &Surroundings) -> Result<SamlSetup, SettingsError> {
        let signing = self.signing.iter().enumerate().map(|(at, pair)| {
            pair.read(surroundings).map_err(|problem| SettingsError::at(format!("saml.signing[{at}]"), problem))
        });
        let parties = self.party.iter().map(|(name, settings)| {
            let below = |e: SettingsError| SettingsError { key: format!("saml.party.{name}.{}", e.key), ..e };
            settings.read(name, surroundings).map_err(below)
        });
        Ok(SamlSetup {
            entity_id: self.entity_id.clone(),
            signing: signing.collect::<Result<_, _>>()?,
            parties: parties.collect::<Result<_, _>>()?,
        })
    }
}

impl PairSettings {
    fn read(&self, surroundings: &Surroundings) -> Result<SigningKey, String> {
        let key = self.key.read(surroundings)?;
        SigningKey::new(&key, certificate(surroundings, &self.certificate)?).map_err(|e| e.to_string())
    }
}

impl PartySettings {
    fn read(&self, name: &str, surroundings: &Surroundings) -> Result<RelyingParty, SettingsError> {
        let party = match (&self.metadata_file, &self.entity_id, &self.acs_url) {
            (Some(file), None, None) if self.logout_url.is_none() && self.certificates.is_empty() => {
                let path = surroundings.path(file);
                let read =
                    std::fs::read(&path).map_err(|e| format!("the file `{}` can't be read: {e}", path.display()));
                read.and_then(|metadata| RelyingParty::from_metadata(&metadata))
                    .map_err(|problem| SettingsError::at("metadata_file", problem))?
            }
            (None, Some(entity_id), Some(acs_url)) => {
                let certificates = self.certificates.iter().map(|file| certificate(surroundings, file));
                let certificates = certificates.collect::<Result<Vec<_>, _>>();
                let certificates = certificates.map_err(|problem| SettingsError::at("certificates", problem))?;
                if self.logout_url.is_some() && certificates.is_empty() {
                    return Err(SettingsError::at("logout_url", "needs `certificates`: logout messages are signed"));
                }
                RelyingParty::inline(entity_id, acs_url, self.logout_url.as_deref(), certificates)
                    .map_err(|problem| SettingsError::at("acs_url", problem))?
            }
            _ => {
                let expected =
                    "expected it alone, or in its place `entity_id` and `acs_url` (and `logout_url`, `certificates`)";
                return Err(SettingsError::at("metadata_file", expected));
            }
        };
        if self.encrypt && party.encryption_certificates() == 0 {
            return Err(SettingsError::at("encrypt", "there is no certificate to encrypt to"));
        }
        let name_id_format = match self.name_id_format.as_deref() {
            None => party.name_id_format.clone(),
            Some(short) => subject::format(short).ok_or_else(|| {
                let expected = "expected persistent, transient, emailAddress or unspecified";
                SettingsError::at("name_id_format", format!("`{short}` is not given here; {expected}"))
            })?,
        };
        if self.aws.as_ref().and_then(|aws| aws.session_duration).is_some_and(|s| !(900..=43200).contains(&s)) {
            return Err(SettingsError::at("aws.session_duration", "expected 900 to 43200 seconds"));
        }
        Ok(RelyingParty {
            name: self.name.clone().unwrap_or_else(|| name.to_owned()),
            signs: self.signs,
            encrypt: self.encrypt,
            name_id_format,
            recipient: self.recipient.clone(),
            audience: self.audience.clone(),
            attributes: self.attributes.clone(),
            aws: self.aws.clone(),
            ..party
        })
    }
}

fn certificate(surroundings: &Surroundings, file: &Path) -> Result<Certificate, String> {
    let path = surroundings.path(file);
    let pem =
        std::fs::read_to_string(&path).map_err(|e| format!("the file `{}` can't be read: {e}", path.display()))?;
    Certificate::from_pem(&pem).map_err(|e| format!("the file `{}`: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::{Environment, parse_table};
    use crate::saml::PartyOf;

    #[test]
    fn a_section_becomes_a_setup_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["sp.example.com".to_owned()]).unwrap().self_signed(&pair).unwrap();
        let certificate = Certificate::from_der(made.der()).unwrap();
        let metadata = PartyOf {
            entity_id: "urn:sp",
            acs_url: "https://sp.example.com/acs",
            logout_url: None,
            signing: &[&certificate],
            encryption: &[],
            wants_signed_assertions: true,
            valid_until: None,
        };
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("sp.xml", metadata.write(None).unwrap());
        write("idp.crt", made.pem());
        write("idp.key", pair.serialize_pem());
        let good = r#"
            entity_id = "urn:idp"
            signing = [{ key = { file = "idp.key" }, certificate = "idp.crt" }]
            [party.one]
            metadata_file = "sp.xml"
            signs = "assertion"
            name_id_format = "emailAddress"
            [party.two]
            entity_id = "urn:two"
            acs_url = "https://two.example.com/acs"
            logout_url = "https://two.example.com/slo"
            certificates = ["idp.crt"]
            encrypt = true
            recipient = "https://signin.aws.amazon.com/saml"
            [party.two.aws]
            provider = "arn:aws:iam::123456789012:saml-provider/corp"
            roles = ["arn:aws:iam::123456789012:role/{department}"]
            session_duration = 900
        "#;
        let read = |text: &str| {
            let settings: SamlSettings = parse_table(text.parse().unwrap())?;
            settings.read(&Surroundings::new(folder.path(), Environment::default()))
        };
        let setup = read(good).unwrap();
        let ids: Vec<&str> = setup.parties.iter().map(|party| &*party.entity_id).collect();
        assert_eq!((ids, setup.signing.len()), (vec!["urn:sp", "urn:two"], 1));
        for (from, to, key) in [
            ("idp.key", "none.key", "saml.signing[0]"),
            ("certificate = \"idp.crt\"", "certificate = \"sp.xml\"", "saml.signing[0]"),
            ("sp.xml", "idp.crt", "saml.party.one.metadata_file"),
            ("metadata_file = \"sp.xml\"", "", "saml.party.one.metadata_file"),
            ("acs_url =", "metadata_file =", "saml.party.two.metadata_file"),
            ("https://two.example.com/acs", "http://two.example.com/acs", "saml.party.two.acs_url"),
            ("certificates = [\"idp.crt\"]", "", "saml.party.two.logout_url"),
            ("signs = \"assertion\"", "encrypt = true", "saml.party.one.encrypt"),
            ("emailAddress", "kerberos", "saml.party.one.name_id_format"),
            ("= 900", "= 899", "saml.party.two.aws.session_duration"),
            ("roles", "role", "party.two.aws.role"),
        ] {
            assert!(good.contains(from), "{from}");
            let refused = read(&good.replace(from, to)).unwrap_err();
            assert_eq!(refused.key, key, "{to}: {refused}");
        }
    }
}
