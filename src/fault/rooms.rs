//! What goes wrong in other rooms, as a fault.

use std::sync::Arc;

use super::Fault;
use crate::credentials::IssueError;
use crate::generation::Unidentified;
use crate::identity::LoginError;
use crate::inject::InjectError;
use crate::policy::{Denied, PathError};
use crate::rate::TooMany;
use crate::session::{StartError, StoreError};
use crate::upstream::UpstreamError;

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<Unidentified> for Fault {
    fn from(error: Unidentified) -> Self {
        match error {
            Unidentified::Rejected { rejection, .. } => Self::Rejected(rejection),
            Unidentified::Undecided { .. } => Self::Undecided(error),
            Unidentified::NotOurselves(error) => Self::Workload(error),
            Unidentified::Ambiguous(..) => Self::Malformed(error.to_string()),
        }
    }
}

impl From<TooMany> for Fault {
    fn from(error: TooMany) -> Self {
        Self::TooMany(error)
    }
}

impl From<PathError> for Fault {
    fn from(error: PathError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<UpstreamError> for Fault {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<InjectError> for Fault {
    fn from(error: InjectError) -> Self {
        Self::Inject(error)
    }
}

impl From<Arc<IssueError>> for Fault {
    fn from(error: Arc<IssueError>) -> Self {
        Self::Issue(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => Self::Store(error),
            StartError::SourceGone => Self::BadLogin(error.to_string()),
        }
    }
}

impl From<LoginError> for Fault {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}
