//! The file's shape: every key there is, before anything is made of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use crate::built_in::SecretSource;
use crate::clock::optional_duration_text;
use crate::policy::{AllowSettings, HopSettings, Oddity, RoleSettings};
use crate::web::ByteCount;

/// The whole file. No key is required here, so that one missing does not hide what is wrong with the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) server: Server,
    pub(super) listen: BTreeMap<String, Listen>,
    pub(super) admin: Admin,
    pub(super) log: Log,
    pub(super) telemetry: Telemetry,
    pub(super) keys: Keys,
    // Kinds and rooms with shapes of their own
    pub(super) limits: Table,
    pub(super) session: Table,
    pub(super) identity: BTreeMap<String, Table>,
    pub(super) credentials: BTreeMap<String, Table>,
    pub(super) endpoint: BTreeMap<String, Table>,
    pub(super) route: BTreeMap<String, Route>,
    pub(super) profile: BTreeMap<String, Profile>,
    pub(super) provider: Option<Table>,
    pub(super) authority: Option<Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    pub(super) workers: Option<usize>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) drain: Option<Duration>,
    pub(super) watch: Option<bool>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) watch_every: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) address: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) trusted_proxies: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_crl: Option<PathBuf>,
    pub(super) client_auth: Option<Asked>,
}

/// Whether a client may come without a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    Optional,
    Required,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) access: Option<bool>,
    pub(super) format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    pub(super) otlp: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) sample: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) cookie: Vec<SecretSource>,
    pub(super) minted: Vec<SecretSource>,
    pub(super) identity: Vec<SecretSource>,
    pub(super) session: Vec<SecretSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Route {
    pub(super) host: Option<Hosts>,
    pub(super) path: Option<String>,
    pub(super) upstream: Option<Value>,
    pub(super) allow: Option<AllowSettings>,
    pub(super) identity: Option<Vec<String>>,
    pub(super) credentials: Option<String>,
    pub(super) role: Option<String>,
    pub(super) roles: Vec<RoleSettings>,
    pub(super) session_name: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) transitive_tags: Vec<String>,
    pub(super) source_identity: Option<String>,
    pub(super) duration: Option<String>,
    pub(super) through: Vec<HopSettings>,
    pub(super) external_id: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) policy_arns: Vec<String>,
    pub(super) inject: Option<Value>,
    pub(super) strip_prefix: Option<String>,
    pub(super) add_prefix: Option<String>,
    pub(super) preserve_host: Option<bool>,
    pub(super) tolerate: Vec<Oddity>,
    pub(super) cors_preflight: Option<bool>,
    pub(super) pass_authorization: Option<bool>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) description: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) region: Option<String>,
    pub(super) role: Option<String>,
    pub(super) session_name: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) transitive_tags: Vec<String>,
    pub(super) source_identity: Option<String>,
    pub(super) duration: Option<String>,
    pub(super) through: Vec<HopSettings>,
    pub(super) external_id: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) policy_arns: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a host such as \"wiki.example.com\", or a list of hosts")]
pub(super) enum Hosts {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Timeouts {
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) connect: Option<Duration>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) first_byte: Option<Duration>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) idle: Option<Duration>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) total: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) body: Option<ByteCount>,
}

/// `upstream`, where it is a table; where it is not, all of it is the `url`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) url: Option<Value>,
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) host: Option<String>,
    pub(super) health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Health {
    pub(super) path: Option<String>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) interval: Option<Duration>,
    #[serde(deserialize_with = "optional_duration_text")]
    pub(super) timeout: Option<Duration>,
    pub(super) unhealthy_after: Option<u32>,
    pub(super) healthy_after: Option<u32>,
}
