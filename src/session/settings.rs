//! `[session]`: how long logins are remembered, and where.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::built_in::SecretSource;
use crate::clock::duration_text;

/// How long logins are remembered, and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// Where.
    pub kind: StoreKind,
    /// A session that is not used for so long ends.
    #[serde(deserialize_with = "duration_text")]
    pub idle: Duration,
    /// A session ends after so long, however much it is used.
    #[serde(deserialize_with = "duration_text")]
    pub lifetime: Duration,
    /// So many are kept; one more, and those unused the longest end.
    pub max_sessions: usize,
    /// `file`: the folder; absent: `sessions` in the state folder.
    pub folder: Option<PathBuf>,
    /// `redis`: where it is, `rediss://host:port/database`, or `redis://` on loopback and where the network is trusted.
    pub url: Option<String>,
    /// `redis`: who we are there.
    pub username: Option<String>,
    /// `redis`: the password.
    pub password: Option<SecretSource>,
    /// `redis`: a PEM file of roots to believe it by; absent: the system's.
    pub ca: Option<PathBuf>,
    /// `redis`: what our keys start with.
    pub prefix: Option<String>,
    /// `redis`: how long the sessions at hand are served while it does not answer.
    #[serde(deserialize_with = "duration_text")]
    pub outage: Duration,
}

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In this process: a restart is a logout.
    #[default]
    Memory,
    /// In this process, and each sealed in a file of its own: a restart keeps them.
    File,
    /// In Redis or Valkey, sealed: several instances share them.
    Redis,
}

impl SessionSettings {
    /// What is wrong with it beyond its shape, each with its key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        for (key, time) in [("idle", self.idle), ("lifetime", self.lifetime), ("outage", self.outage)] {
            if time.is_zero() {
                problems.push((key, "is no time at all; expected something like 30s or 15m".to_owned()));
            }
        }
        if self.max_sessions == 0 {
            problems.push(("max_sessions", "is 0, with which nobody can log in; expected at least 1".to_owned()));
        }
        let mut only = |key, is_there, kind, name| {
            if is_there && self.kind != kind {
                problems.push((key, format!("is for kind = \"{name}\" only")));
            }
        };
        only("folder", self.folder.is_some(), StoreKind::File, "file");
        only("url", self.url.is_some(), StoreKind::Redis, "redis");
        only("username", self.username.is_some(), StoreKind::Redis, "redis");
        only("password", self.password.is_some(), StoreKind::Redis, "redis");
        only("ca", self.ca.is_some(), StoreKind::Redis, "redis");
        only("prefix", self.prefix.is_some(), StoreKind::Redis, "redis");
        if self.kind == StoreKind::Redis && self.url.is_none() {
            problems
                .push(("url", "is missing; expected where Redis is, such as rediss://redis.example.com".to_owned()));
        }
        problems
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            idle: Duration::from_secs(3_600),
            lifetime: Duration::from_secs(12 * 3_600),
            max_sessions: 100_000,
            folder: None,
            url: None,
            username: None,
            password: None,
            ca: None,
            prefix: None,
            outage: Duration::from_secs(300),
        }
    }
}
