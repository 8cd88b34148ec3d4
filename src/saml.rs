//! SAML 2.0: reading what providers sign, safe against a hostile internet; and writing what they want to read.
//!
//! The way of a message that arrives, each step a type that only the step before makes:
//!
//! ```text
//! bytes ── Guarded::new ──▶ Guarded ── verify ──▶ Verified ── accept(Expected) ──▶ Assertion
//!          strict XML,                  xmlsec1 with          for us, now,
//!          one structure,               pinned certificates,  in answer to us
//!          one shape of signature       decryption
//! ```
//!
//! | module | one line |
//! |---|---|
//! | `scan` | one linear look at the bytes: sizes, and no XML that parsers disagree on |
//! | `guard` | one root, one assertion, unique IDs, signatures in the one shape |
//! | `xmlsec` | the one door to C |
//! | `verify` | what was signed, as the bytes that were hashed |
//! | `decrypt` | RSA-OAEP and AES, on aws-lc-rs |
//! | `expected` | whom it is for, since when and until when, and what it answers |
//! | `workers` | a bounded number of threads for all of this |
//!
//! A service provider's ACS, off the async workers:
//!
//! ```ignore
//! let document = saml::from_post(field)?;
//! let assertion = workers.run(move || {
//!     verify(Guarded::new(&document, Kind::Response)?, &trust)?.accept(&Expected {
//!         issuer: &provider.entity_id,
//!         destination: Some(&acs_url),
//!         recipients: &[&acs_url],
//!         audiences: &[&our_entity_id],
//!         answer: Answer::To(&request_id),       // from this browser's per-login cookie
//!         authn_contexts: &[],
//!         now: clock.now(),
//!         skew: SKEW,
//!     })
//! }).await?;
//! // then, with the caller: refuse (issuer, assertion.once.id) that was seen, and remember it until assertion.once.until
//! ```
//!
//! Logout messages go the same way with [`verify_redirect`] or [`verify()`], then [`Leaving::read`] and [`Left::read`];
//! requests to an identity provider of ours with [`Requested::read`]. An STS sets `destination: None`,
//! `answer: Answer::Any`, and finds the provider to verify by from [`Guarded::claimed_issuer`].
//!
//! Who refuses says [`Refused`] to the world and a [`Reason`] to the log.

mod assertion;
mod binding;
mod build;
mod decrypt;
mod encrypt;
mod expected;
mod guard;
mod key;
mod message;
mod metadata;
mod names;
mod reason;
mod same;
mod scan;
mod sign;
mod tree;
mod verify;
mod workers;
mod write;
mod xmlsec;

pub use assertion::{Assertion, Attribute, NameId, Once};
pub use binding::{Outgoing, Parameter, Posted, Redirected, Unsignable, from_post};
pub use build::{AssertionOf, AuthnRequest, LogoutRequest, LogoutResponse, ResponseOf, Signing, fresh_id};
pub use decrypt::DecryptionKey;
pub use encrypt::Encryption;
pub use expected::{Answer, Expected, SKEW};
pub use guard::{Guarded, Kind};
pub use key::{Certificate, KeyError, SigningKey};
pub use message::{ExpectedMessage, Leaving, Left, Requested};
pub use metadata::{Binding, Endpoint, Metadata, MetadataError, Party, PartyOf, Pinned, Provider, ProviderOf};
pub use names::{BEARER, ENTITY, NO_PASSIVE, POST, REDIRECT, SUCCESS};
pub use reason::{Reason, Refused};
pub use verify::{Trust, Verified, verify, verify_redirect};
pub use workers::Workers;
