//! Bodies that are not what was signed, or that can't be read.

use std::error::Error;

use super::{Face, Fault, capital};
use crate::sigv4::chunked::ChunkError;
use crate::upstream::UpstreamError;
use crate::web::CollectError;

impl Fault {
    /// The face, where that is what is wrong. It is found by its cause, as the body broke off on its way upstream.
    pub(super) fn of_the_body(&self) -> Option<Face> {
        let error = self.misframed()?;
        let text = format!("{}.", capital(&error.to_string()));
        Some(match error {
            ChunkError::Signature | ChunkError::Digest => {
                Face::new(403, "body_not_signed", "The upload is not what was signed", text)
            }
            _ => Face::new(400, "body_malformed", "The upload can't be read", text),
        })
    }

    fn misframed(&self) -> Option<&ChunkError> {
        let (Self::Body(CollectError::Broken(error))
        | Self::Upstream(UpstreamError::Interrupted { source: error, .. })) = self
        else {
            return None;
        };
        let mut cause: Option<&(dyn Error + 'static)> = Some(&**error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref() {
                return Some(error);
            }
            cause = error.source();
        }
        None
    }
}
