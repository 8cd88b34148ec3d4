//! `kind = "web_identity"`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{CredentialProvider, Credentials, IssueError, Materials, Tellable};
use crate::built_in::BuiltIn;
use crate::identity::Holder;
use crate::policy::Grant;

pub(super) const BUILT_IN: BuiltIn<dyn CredentialProvider, Materials> = BuiltIn {
    kind: "web_identity",
    summary: "",
    example: "",
    build: |_settings, _materials| Ok(Arc::new(Provider {})),
};

#[derive(Debug)]
struct Provider {}

#[async_trait]
impl CredentialProvider for Provider {
    fn can_tell(&self) -> Tellable {
        unimplemented!("in the making")
    }

    async fn issue(
        &self,
        _grant: &Grant,
        _holder: &Holder,
        _duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        unimplemented!("in the making")
    }
}
