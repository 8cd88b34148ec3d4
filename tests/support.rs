//! What tests stand on: the real binary, and around it an identity provider, an STS and an upstream of our own making.

pub mod browser;
pub mod chained_roles;
pub mod client;
pub mod gate;
pub mod hostile;
pub mod native;
pub mod own_keys;
pub mod place;
pub mod process;
pub mod redis;
pub mod routes;
#[cfg(feature = "saml")]
pub mod saml_attacks;
#[cfg(feature = "saml")]
pub mod saml_idp;
pub mod secure;
pub mod side;
pub mod tap;
pub mod told;
#[cfg(feature = "saml")]
pub mod traced;
pub mod upstream;
pub mod verdict;
pub mod watched;
pub mod wire;
pub mod world;
