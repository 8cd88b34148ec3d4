//! `kind = "oidc"`: people log in at an OpenID Connect provider.

use std::sync::Arc;

use async_trait::async_trait;

use super::{IdentitySource, Materials, Recognition};
use crate::built_in::BuiltIn;
use crate::web::Caller;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "oidc",
    summary: "Logs people in at an OpenID Connect provider.",
    example: "",
    build: |_settings, _materials| Ok(Arc::new(Oidc {})),
};

#[derive(Debug)]
struct Oidc {}

#[async_trait]
impl IdentitySource for Oidc {
    async fn recognize(&self, _caller: &Caller<'_>) -> Recognition {
        Recognition::NotPresented
    }
}
