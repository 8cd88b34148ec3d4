//! Which keys each pod was handed out last, so that each is told of once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::credentials::Credentials;
use crate::identity::{HolderId, Identity};

#[derive(Debug, Default)]
pub(super) struct Last(Mutex<HashMap<HolderId, Given>>);

#[derive(Debug)]
struct Given {
    key: Box<str>,
    ends: SystemTime,
}

impl Last {
    /// Whether these keys are new to whoever gets them now.
    pub(super) fn is_new(&self, identity: &Identity, credentials: &Arc<Credentials>, now: SystemTime) -> bool {
        let (holder, key) = (identity.holder.id, &*credentials.access_key_id);
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.get(&holder).is_some_and(|given| *given.key == *key) {
            return false;
        }
        if given.len() >= MANY {
            given.retain(|_, given| given.ends > now);
        }
        if given.len() >= MOST {
            given.clear(); // better told twice than not at all
        }
        given.insert(holder, Given { key: key.into(), ends: credentials.expires });
        true
    }
}

/// More pods than a node has.
const MANY: usize = 256;
const MOST: usize = 4096;
