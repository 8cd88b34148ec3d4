//! What a person or program could do about a fault.

use std::sync::Arc;

use super::Fault;
use crate::credentials::IssueError;
use crate::identity::EvidenceError;
use crate::policy::Denied;

impl Fault {
    /// Whether logging in, or logging in again, would help.
    pub fn calls_for_a_login(&self) -> bool {
        match self {
            Self::Anonymous | Self::Denied(Denied::Anonymous) => true,
            Self::Issue(error) => matches!(**error, IssueError::EvidenceExpired),
            Self::Token(EvidenceError::Expired) => true,
            _ => false,
        }
    }

    /// Whether the session that exists does not do: its proof of identity or its tokens have ended.
    pub fn calls_for_a_new_login(&self) -> bool {
        self.calls_for_a_login() && matches!(self, Self::Issue(_) | Self::Token(_))
    }

    /// Whether choosing a role would help.
    pub fn calls_for_a_role(&self) -> bool {
        matches!(self, Self::Denied(Denied::RoleWanted(_)))
    }

    /// The roles that are theirs, where it is about roles.
    pub(super) fn roles(&self) -> Option<&[Arc<str>]> {
        match self {
            Self::Denied(Denied::RoleWanted(names) | Denied::NotTheirRole(names)) => Some(names),
            _ => None,
        }
    }
}
