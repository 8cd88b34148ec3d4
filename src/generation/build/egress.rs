//! Routes that send requests on to AWS for the workload that claviger runs beside.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Builder;
use crate::arn::SignedFor;
use crate::config::{RouteConfig, below};
use crate::identity::IdentitySource;
use crate::route::HostPattern;

impl Builder<'_> {
    /// The source that is everybody's on this route. It is named, alone, and nobody but this machine reaches a listener:
    /// whoever does is the workload (A22).
    pub(super) fn ambient(
        &mut self,
        config: &RouteConfig,
        path: &str,
        sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>,
    ) -> Option<Arc<dyn IdentitySource>> {
        let named = config.identity.as_deref().unwrap_or_default();
        let own = |name: &&Arc<str>| sources.get(*name).is_some_and(|source| source.is_own());
        let name = named.iter().find(own)?;
        let key = below(path, "identity");
        if named.len() > 1 {
            let problem = format!(
                "names `{name}`, which no caller presents and which is everybody's here, beside others; expected it alone"
            );
            self.errors.add(&key, problem);
        }
        for (listener, listen) in &self.config.listen {
            if !listen.address.ip().is_loopback() {
                let problem = format!(
                    "names `{name}`, so that whoever reaches this route is that workload, but `listen.{listener}.address` \
                     is {}, which others reach; expected a loopback address there",
                    listen.address
                );
                self.errors.add(&key, problem);
            }
            if !listen.trusted_proxies.is_empty() {
                let problem = format!(
                    "names `{name}`, so that whoever reaches this route is that workload, but `listen.{listener}` has \
                     `trusted_proxies`, which pass on what others ask; expected none there"
                );
                self.errors.add(&key, problem);
            }
        }
        sources.get(name).cloned()
    }

    /// Requests go to the hosts that are written down, and each is one of AWS's: what a request says may not lead
    /// anywhere else (SSRF).
    pub(super) fn look_for_hosts_of_aws(&mut self, config: &RouteConfig, path: &str) {
        for host in &config.hosts {
            let problem = match host {
                HostPattern::Any => {
                    "goes where requests ask, and `host` is *; expected the hosts that they may ask for"
                }
                HostPattern::Exactly(name) if SignedFor::host(name).is_none() => {
                    "goes where requests ask, and `host` names one that is not known as an AWS service's; expected e.g. \
                     s3.eu-west-1.amazonaws.com, or an address here"
                }
                _ => continue,
            };
            self.errors.add(path, format!("{problem} (`{host}`)"));
        }
        if config.preserve_host == Some(true) {
            self.errors.add(path, "goes where requests ask, so `preserve_host` says nothing; expected none");
        }
    }
}
