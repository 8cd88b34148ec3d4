//! **claviger**, the key-bearer: an identity-aware reverse proxy that federates logins into temporary AWS credentials.
//!
//! A person opens an internal app through claviger and logs in at their own identity provider. Each request that
//! goes on to the app is signed (SigV4) with that person's *own* temporary credentials, obtained from an STS for a
//! role that the policy allows them, cached, renewed before they end and dropped at logout. Nobody holds a
//! long-lived key, and CloudTrail sees people.
//!
//! # Words
//!
//! The same word everywhere: in code, config keys, log fields, metrics and documentation.
//!
//! | word | means |
//! |---|---|
//! | **caller** | whoever sends a request: head and connection, nothing believed yet |
//! | **source** | a configured `[identity.<name>]` that can vouch for somebody |
//! | **subject** | somebody, named by a source and that source's own id |
//! | **claims** | what a source says of a subject |
//! | **identity** | a subject somebody vouches for *now*, with claims and a holder |
//! | **holder** | who keeps credentials alive: a session; gone, and they go |
//! | **evidence** | proof of identity in the form a credential service takes: an ID token |
//! | **session**, **ticket** | a remembered login, and the opaque cookie value that opens it |
//! | **route** | a host and path prefix, its policy, its upstream, what is injected |
//! | **rule** | one way to be let in by a route's policy |
//! | **permit** | leave to pass; only the policy makes one, and nothing is sent without |
//! | **grant** | leave to hold a role, with everything STS is told; the broker's cache key |
//! | **role** (of a route), **choice** | one of several AWS roles that a route offers, and which of theirs a person has picked |
//! | **provider** (of credentials) | a configured `[credentials.<name>]` that issues for a grant |
//! | **broker** | keeps and renews credentials; however many wait, the provider is asked once |
//! | **endpoint** | a configured `[endpoint.<name>]` at which SDKs ask for credentials |
//! | **injector** | puts something on a request: a signature, identity headers, a token |
//! | **fault** | a failure with its public face |
//! | **generation** | everything built from one config; a request sees one |
//!
//! # The life of a request
//!
//! ```text
//! server     accepts, TLS, framing, limits
//!   app      sends /.claviger/… to sign_in, the rest to proxy
//!   proxy    ┌ route       whose is it
//!            │ identity    who asks (a session first)
//!            │ policy      what may they have            → Permit, or Denied
//!            │ broker      their credentials for it      → credentials → aws
//!            │ inject      strip what clients may not say, then set and sign
//!            └ upstream    send, stream the answer back
//!   fault    any Err on the way: one status, one log line
//! ```
//!
//! # Rooms
//!
//! Arrows go down only; `tests/architecture.rs` holds the table and fails by name.
//!
//! | level | rooms |
//! |---|---|
//! | command line | [`cli`] |
//! | wiring | [`app`] [`agent`] |
//! | doors: how a caller speaks | [`proxy`] [`sign_in`] [`admin`] [`endpoint`] |
//! | one config, one way to fail | [`generation`] [`fault`] [`config`] |
//! | the sentence: identify, decide, issue, inject | [`identity`] [`session`] [`policy`] [`route`] [`credentials`] [`broker`] [`inject`] |
//! | the other side: what we talk to when there is nothing else | [`provider`] [`users`] [`authority`] [`demo`] |
//! | ground: knows nothing of the domain | [`server`] [`rate`] [`upstream`] [`fetch`] [`trace`] [`redis`] [`tls`] [`web`] [`aws`] [`sigv4`] [`jose`] `saml` [`built_in`] [`arn`] [`secret`] [`files`] [`clock`] [`telemetry`] |
//!
//! How known attacks are answered is a page of its own: [`manual::vulnerabilities`]; why things are as they are is another:
//! [`manual::decisions`].

pub mod admin;
pub mod agent;
pub mod app;
pub mod arn;
pub mod authority;
pub mod aws;
pub mod broker;
pub mod built_in;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod endpoint;
pub mod fault;
pub mod fetch;
pub mod files;
pub mod generation;
pub mod identity;
pub mod inject;
pub mod jose;
pub mod manual;
pub mod policy;
pub mod provider;
pub mod proxy;
pub mod rate;
pub mod redis;
pub mod route;
#[cfg(feature = "saml")]
pub mod saml;
pub mod secret;
pub mod server;
pub mod session;
pub mod sign_in;
pub mod sigv4;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod upstream;
pub mod users;
pub mod web;
