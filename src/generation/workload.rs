//! Who is behind a key that an endpoint has issued: the workload, if the source that vouched for it still does.

use std::sync::Arc;

use serde_json::Value;

use super::Generation;
use crate::identity::{Claims, Holder, Identity, IssuedTo, Presented, Recognition, SourceName, Subject};

impl Generation {
    /// The workload as it is now, under the name of the source that has recognised the key; never anybody else.
    pub(super) fn behind(&self, name: &SourceName, to: IssuedTo) -> Recognition {
        let rejected = |reason: &str| Recognition::Rejected(Presented::Signature.rejected(reason));
        let Some(source) = self.sources.get(&to.source).filter(|source| source.is_own()) else {
            return rejected("the source that vouched for whom the key was issued to is not there any more");
        };
        let own = match source.own() {
            Ok(own) => own,
            Err(error) => return Recognition::Undecided(Arc::new(error)),
        };
        if own.subject.id != to.id {
            return rejected("the key was issued to another workload");
        }
        let mut claims = own.claims.as_map().clone();
        claims.insert("endpoint".into(), Value::String(to.endpoint.to_string()));
        claims.insert("role".into(), Value::String(to.role.to_string()));
        Recognition::Verified(Identity {
            subject: Arc::new(Subject { source: Arc::clone(name), id: to.id }),
            claims: Claims::new(claims),
            ends_at: own.ends_at.min(to.until),
            holder: Holder { ends: own.holder.ends.min(to.until), ..own.holder },
        })
    }
}
