//! `kind = "sigv4"`.

use std::sync::Arc;

use http::HeaderName;

use super::{BodyNeed, Given, InjectError, Injector, Needs};
use crate::built_in::BuiltIn;
use crate::web::Request;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, ()> =
    BuiltIn { kind: "sigv4", summary: "", example: "", build: |_settings, _| Ok(Arc::new(Kind {})) };

#[derive(Debug)]
struct Kind {}

impl Injector for Kind {
    fn needs(&self) -> Needs {
        Needs { credentials: false, body: BodyNeed::Nothing }
    }

    fn sets(&self) -> &[HeaderName] {
        &[]
    }

    fn inject(&self, request: Request, _given: &Given<'_>) -> Result<Request, InjectError> {
        Ok(request)
    }
}
