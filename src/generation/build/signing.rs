//! What a route puts on requests: all of it once, the signature at last, and a role where it is signed with one.

use std::sync::Arc;

use http::header;

use super::Builder;
use crate::config::{RouteConfig, below};
use crate::inject::{Injector, Vouched};

impl Builder<'_> {
    /// Credentials come from a role, and a role without anything that signs is a mistake.
    pub(super) fn look_for_role(&mut self, config: &RouteConfig, path: &str, injectors: &[Option<Arc<dyn Injector>>]) {
        let signs = |injector: &Arc<dyn Injector>| injector.needs().credentials;
        if !config.want.wants_role() {
            for ((path, _), _) in config.inject.iter().zip(injectors).filter(|(_, i)| i.as_ref().is_some_and(signs)) {
                self.errors.add(path.as_str(), "needs credentials; expected a `role` in this route");
            }
        } else if injectors.iter().flatten().count() == injectors.len() && !injectors.iter().flatten().any(signs) {
            let problem =
                "is of no use, as nothing in `inject` needs credentials; expected e.g. { kind = \"sigv4\", … }";
            let key = if config.want.role.is_some() { "role" } else { "roles" };
            self.errors.add(below(path, key), problem);
        }
    }

    /// An injector with credentials signs what is there: once, at last, and under an `Authorization` of its own.
    pub(super) fn look_for_what_breaks_a_signature(
        &mut self,
        config: &RouteConfig,
        path: &str,
        injectors: &[Option<Arc<dyn Injector>>],
    ) {
        if config.preserve_host == Some(true) {
            let problem = "is true, but the request is signed, which is for the upstream's own host; expected false";
            self.errors.add(below(path, "preserve_host"), problem);
        }
        if config.pass_authorization {
            let problem = "is true, but the signature takes the place of the client's header; expected false";
            self.errors.add(below(path, "pass_authorization"), problem);
        }
        let (mut put_on_after, mut signed_after) = (false, false);
        // from the end: what comes after an injector is known before it
        for ((path, _), injector) in config.inject.iter().zip(injectors).rev() {
            let Some(injector) = injector else { continue };
            if !injector.needs().credentials {
                if injector.puts().contains(&header::AUTHORIZATION) {
                    let problem = "sets Authorization, which the signature takes the place of; expected another header";
                    self.errors.add(path.as_str(), problem);
                }
                put_on_after = true;
                continue;
            }
            if signed_after {
                self.errors
                    .add(path.as_str(), "signs what is signed again after it; expected one that needs credentials");
            }
            if put_on_after {
                self.errors.add(path.as_str(), "signs before all is put on the request; expected to be the last");
            }
            signed_after = true;
        }
    }

    /// One header has one value: of two injectors the last would win, and of an injector and the client nobody knows.
    pub(super) fn look_for_what_is_put_twice(
        &mut self,
        config: &RouteConfig,
        path: &str,
        injectors: &[Option<Arc<dyn Injector>>],
    ) {
        let mut so_far = Vec::new();
        for ((at, _), injector) in config.inject.iter().zip(injectors) {
            let Some(injector) = injector else { continue };
            let put = Vouched::new(&so_far);
            for name in injector.puts().iter().filter(|name| put.has(name)) {
                let problem = format!("sets {name}, which an injector before it sets; expected another header");
                self.errors.add(at.as_str(), problem);
            }
            so_far.extend(injector.puts().iter().cloned());
        }
        if config.pass_authorization && so_far.contains(&header::AUTHORIZATION) {
            let problem = "is true, but something in `inject` takes the place of the client's header; expected false";
            self.errors.add(below(path, "pass_authorization"), problem);
        }
    }
}
