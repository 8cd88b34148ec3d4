//! What is behind a route: one upstream, or for each request the host that it asks for.

use std::borrow::Cow;

use super::Host;
use crate::arn::SignedFor;
use crate::upstream::{AsAsked, Upstream};

/// Where a route's requests go.
#[derive(Debug)]
pub enum Behind {
    /// To one upstream.
    One(Upstream),
    /// To the AWS host that each names; boxed, as few routes are such.
    AsAsked(Box<AsAsked>),
}

impl Behind {
    /// The upstream for a request to this host, written as `written`. None where the host is no AWS service's, or a port
    /// is asked for that is not its own: nothing else is ever reached by what a request says (SSRF, A29).
    pub fn of(&self, host: &Host<'_>, written: &str) -> Option<Cow<'_, Upstream>> {
        match self {
            Self::One(upstream) => Some(Cow::Borrowed(upstream)),
            Self::AsAsked(as_asked) => {
                let port = written.rsplit_once(':').map(|(_, port)| port);
                if port.is_some_and(|port| !matches!(port, "80" | "443")) {
                    return None;
                }
                as_asked.of(host.as_str(), || SignedFor::host(host.as_str()).is_some()).map(Cow::Owned)
            }
        }
    }

    /// Whether it is the host that is asked for.
    pub fn is_as_asked(&self) -> bool {
        matches!(self, Self::AsAsked(_))
    }
}
