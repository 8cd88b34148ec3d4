//! AWS names that are valid by existing.
//!
//! Each type is made by parsing and by nothing else; the limits are those of the IAM and STS API references.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod host_name;

pub use host_name::SignedFor;

/// Why a text is not the AWS name it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ArnError {
    text: String,
    expected: &'static str,
}

impl ArnError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(200).collect(), expected }
    }
}

/// The ARN of an IAM role: `arn:aws:iam::123456789012:role/path/name`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoleArn(Arc<str>);

impl RoleArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The account that owns the role; empty for services that have no accounts (MinIO's `arn:minio:iam:::role/…`).
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The last part of the path: the name under which sessions of this role appear.
    pub fn role_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The ARN that a session of this role acts as: `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
    pub fn session(&self, session: &SessionName) -> String {
        format!("arn:{}:sts::{}:assumed-role/{}/{session}", self.partition(), self.account(), self.role_name())
    }
}

impl FromStr for RoleArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let error = || ArnError::new(text, "a role ARN; expected arn:aws:iam::<12-digit account>:role/<name>");
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        let partition_ok = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        // Every AWS partition has accounts; only other S3 services leave the field empty.
        let account_ok = account.parse::<AccountId>().is_ok() || (account.is_empty() && !partition.starts_with("aws"));
        let path_ok = resource.strip_prefix("role/").is_some_and(|path| {
            path.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(is_name_byte))
                && path.rsplit('/').next().is_some_and(|name| name.len() <= 64)
                && path.len() <= 512 + 64
        });
        if arn == "arn" && service == "iam" && region.is_empty() && partition_ok && account_ok && path_ok {
            Ok(Self(text.into()))
        } else {
            Err(error())
        }
    }
}

/// The ARN of a SAML provider registered with IAM: `arn:aws:iam::123456789012:saml-provider/name`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SamlProviderArn(Arc<str>);

impl SamlProviderArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The account it is registered in.
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }
}

impl FromStr for SamlProviderArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let expected = "a SAML provider's ARN; expected arn:aws:iam::<12-digit account>:saml-provider/<name>";
        let (account, name) = text.split_once(":saml-provider/").unwrap_or_default();
        let (partition, account) = account.split_once(":iam::").unwrap_or_default();
        let partition = partition.strip_prefix("arn:").unwrap_or_default();
        let partition_ok = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        // IAM CreateSAMLProvider, Name
        let name_ok = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        let ok = partition_ok && name_ok && account.parse::<AccountId>().is_ok();
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// A 12-digit AWS account number.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.into()))
        } else {
            Err(ArnError::new(text, "an account number of 12 digits"))
        }
    }
}

/// A region's name, such as `eu-west-1`; also the region field of a SigV4 scope.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Region(Arc<str>);

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, "a region; expected something like eu-west-1")) }
    }
}

/// An AWS service's signing name, such as `s3` or `execute-api`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the service follows S3's rules: paths encoded once and never normalised, payloads may stay unsigned.
    pub fn is_s3(&self) -> bool {
        matches!(&*self.0, "s3" | "s3-object-lambda" | "s3-outposts" | "s3express")
    }
}

impl FromStr for ServiceName {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_'));
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, "a signing name; expected something like s3")) }
    }
}

/// A role session's name: 2 to 64 characters of `[A-Za-z0-9_+=,.@-]` (STS `RoleSessionName`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionName(Arc<str>);

impl SessionName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionName {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if (2..=64).contains(&text.len()) && text.bytes().all(is_name_byte) {
            Ok(Self(text.into()))
        } else {
            Err(ArnError::new(text, "a role session name; expected 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -"))
        }
    }
}

/// A source identity: the same characters and lengths as a session name (STS `SourceIdentity`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SourceIdentity(Arc<str>);

impl SourceIdentity {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceIdentity {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = (2..=64).contains(&text.len()) && text.bytes().all(is_name_byte) && !text.starts_with("aws:");
        let expected = "a source identity; expected 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -";
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// What the owner of a role and whoever may assume it have agreed on, against confused deputies (STS `ExternalId`): 2 to
/// 1224 letters, digits and `_ + = , . @ : / -`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExternalId(Arc<str>);

impl ExternalId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = (2..=1224).contains(&text.len()) && text.bytes().all(|b| is_name_byte(b) || b":/".contains(&b));
        let expected = "an external id; expected 2 to 1224 letters, digits or any of _ + = , . @ : / -";
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// The ARN of a managed policy: `arn:aws:iam::aws:policy/ReadOnlyAccess`, or an account's own.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyArn(Arc<str>);

impl PolicyArn {
    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (arn, partition, iam, region, account, name) = (next(), next(), next(), next(), next(), next());
        let is_account = account == "aws" || account.parse::<AccountId>().is_ok();
        let is_name = name.strip_prefix("policy/").is_some_and(|name| {
            !name.is_empty() && !name.ends_with('/') && name.bytes().all(|b| is_name_byte(b) || b == b'/')
        });
        let ok =
            text.len() <= 2048 && arn == "arn" && partition.starts_with("aws") && iam == "iam" && region.is_empty();
        let expected = "the ARN of a managed policy; expected something like arn:aws:iam::aws:policy/ReadOnlyAccess";
        if ok && is_account && is_name { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// A session tag's key: 1 to 128 characters of letters, digits, spaces and `_ . : / = + - @`, not starting with `aws:`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TagKey(Arc<str>);

impl TagKey {
    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagKey {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = (1..=128).contains(&text.chars().count())
            && text.chars().all(is_tag_char)
            && !text.to_ascii_lowercase().starts_with("aws:");
        let expected =
            "a tag key; expected 1 to 128 letters, digits, spaces or _ . : / = + - @, not starting with aws:";
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// A session tag's value: at most 256 characters of the same set.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TagValue(Arc<str>);

impl TagValue {
    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagValue {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let ok = text.chars().count() <= 256 && text.chars().all(is_tag_char);
        let expected = "a tag value; expected up to 256 letters, digits, spaces or _ . : / = + - @";
        if ok { Ok(Self(text.into())) } else { Err(ArnError::new(text, expected)) }
    }
}

/// `[\w+=,.@-]`, the set of IAM names and role session names.
fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, the set of session tags; of the separators only the plain space, as no other is ever meant.
fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

/// `Display`, `Serialize` and `Deserialize` by the text, the same for each name here.
macro_rules! by_its_text {
    ($($name:ty),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
by_its_text!(
    RoleArn,
    SamlProviderArn,
    AccountId,
    Region,
    ServiceName,
    SessionName,
    SourceIdentity,
    ExternalId,
    PolicyArn,
    TagKey,
    TagValue
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns_parse_into_their_parts() {
        let arn: RoleArn = "arn:aws:iam::123456789012:role/team/reports".parse().unwrap();
        assert_eq!((arn.partition(), arn.account(), arn.role_name()), ("aws", "123456789012", "reports"));
        let session = "alice@corp".parse().unwrap();
        assert_eq!(arn.session(&session), "arn:aws:sts::123456789012:assumed-role/reports/alice@corp");
        assert!("arn:minio:iam:::role/dummy-internal".parse::<RoleArn>().is_ok());
    }

    #[test]
    fn a_claim_cannot_smuggle_another_role_into_an_arn() {
        // A20: what a template could make of hostile claims
        for hostile in [
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::123456789012:role/a*",
            "arn:aws:iam::123456789012:role/a\nb",
            "arn:aws:iam::123456789012:role/arn:aws:iam::1:role/x",
            "arn:aws:iam:::role/x",
            "arn:aws:sts::123456789012:role/x",
            "arn:aws:iam::12345678901:role/x",
        ] {
            assert!(hostile.parse::<RoleArn>().is_err(), "{hostile}");
        }
        assert!(format!("arn:aws:iam::123456789012:role/{}", "x".repeat(65)).parse::<RoleArn>().is_err());
    }

    #[test]
    fn session_names_keep_to_what_sts_takes() {
        assert!("alice@example.com".parse::<SessionName>().is_ok());
        for bad in ["a", "a b", "a/b", "a\n", "é", &"x".repeat(65)] {
            assert!(bad.parse::<SessionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_take_letters_of_any_script_and_no_control_characters() {
        assert!("Größe: A/B".parse::<TagValue>().is_ok());
        assert!("".parse::<TagValue>().is_ok());
        assert!("a*b".parse::<TagValue>().is_err());
        assert!("a\nb".parse::<TagValue>().is_err());
        assert!("aws:x".parse::<TagKey>().is_err());
    }
}
