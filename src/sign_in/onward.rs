//! Sending a browser on to a provider: by redirect, or by a page with a form, as our pages run no scripts (A11).

use askama::Template;

use super::begin::page;
use crate::fault::Fault;
use crate::identity::{Form, Onward};
use crate::web::{self, Response};

#[derive(Template)]
#[template(path = "sign_in/onward.html", config = ".askama.toml")]
struct Page<'a> {
    label: &'a str,
    action: &'a str,
    fields: &'a [(&'static str, String)],
}

/// The answer that sends a browser on to the provider of this label.
pub(super) fn send_onward(to: Onward, label: &str) -> Result<Response, Fault> {
    match to {
        Onward::Redirect(url) => Ok(web::redirect(url.as_str())),
        Onward::Post(Form { action, fields }) => page(&Page { label, action: &action, fields: &fields }),
    }
}
