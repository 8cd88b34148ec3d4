//! Sources that vouch for whoever shows a token, wherever it is shown.

use async_trait::async_trait;

use super::{Identity, Recognition};

/// Judges tokens by themselves, as endpoints for SDKs are shown them: without a scheme, and nothing else beside them.
#[async_trait]
pub trait TokenJudge: Send + Sync {
    /// Whose a token is that was verified a moment ago.
    fn known(&self, token: &str) -> Option<Identity>;

    /// What any other is worth; [`Recognition::NotPresented`] where it is another issuer's.
    async fn judge(&self, token: &str) -> Recognition;
}
