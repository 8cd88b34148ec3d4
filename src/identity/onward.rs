//! The way on that a browser is sent, to an identity provider and back: by redirect, or by a form that the person sends.

use std::fmt::{self, Debug};

use url::Url;

/// A way on.
#[derive(Debug)]
pub enum Onward {
    /// By redirect.
    Redirect(Url),
    /// By a form: for messages that a provider wants posted.
    Post(Form),
}

/// A form with hidden fields.
pub struct Form {
    /// Where it is posted to.
    pub action: String,
    /// Names and values.
    pub fields: Vec<(&'static str, String)>,
}

impl Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("action", &self.action).finish_non_exhaustive() // values hold messages
    }
}
