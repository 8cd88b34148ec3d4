//! What needs a token of whoever asks, on a route where some have none to show: they would be turned away by it at every
//! request, and nobody would see in the config why.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Builder;
use crate::config::{RouteConfig, below};
use crate::credentials::CredentialProvider;
use crate::identity::IdentitySource;
use crate::inject::Injector;

impl Builder<'_> {
    /// A source without tokens counts on no route that shows or passes on a caller's own.
    pub(super) fn look_for_tokens(
        &mut self,
        config: &RouteConfig,
        path: &str,
        injectors: &[Option<Arc<dyn Injector>>],
        sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>,
        providers: &BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    ) {
        let shown = config.credentials.as_ref().filter(|_| config.want.wants_role());
        let bare = sources.iter().find(|(name, source)| config.counts(name) && !source.has_assertions());
        if let Some((without, _)) = bare
            && let Some(name) = shown.filter(|name| providers.get(*name).is_some_and(|found| found.shows_assertions()))
        {
            let problem = format!(
                "identity.{without} counts here and keeps no SAML response that credentials.{name} could show to STS; \
                 expected credentials of another kind, or an `identity` without `{without}` in this route"
            );
            self.errors.add(below(path, "credentials"), problem);
        }
        let without = sources.iter().find(|(name, source)| config.counts(name) && !source.has_tokens());
        let Some((without, _)) = without else { return };
        let expected = format!("an `identity` without `{without}` in this route");
        if let Some(name) = shown.filter(|name| providers.get(*name).is_some_and(|found| found.shows_tokens())) {
            let problem = format!(
                "identity.{without} counts here and has no token that credentials.{name} could show to STS; expected \
                 credentials of the kind minted, or {expected}"
            );
            self.errors.add(below(path, "credentials"), problem);
        }
        for ((at, _), injector) in config.inject.iter().zip(injectors) {
            if injector.as_ref().is_some_and(|injector| injector.needs().token.is_some()) {
                let problem = format!(
                    "identity.{without} counts here and has no token that could be passed on; expected {expected}"
                );
                self.errors.add(at.as_str(), problem);
            }
        }
    }
}
