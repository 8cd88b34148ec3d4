//! What people see of the provider. The templates escape all that is put in (A11).

use askama::Template;
use http::StatusCode;

use crate::web::{Response, page};

/// Name and password, please.
#[derive(Template)]
#[template(path = "provider/sign_in.html", config = ".askama.toml")]
pub(super) struct SignInPage<'a> {
    pub(super) action: &'a str,
    pub(super) client: &'a str,
    pub(super) name: &'a str,
    pub(super) problem: Option<String>,
    pub(super) next: &'a str,
    pub(super) seal: &'a str,
}

/// Which code does the device show?
#[derive(Template)]
#[template(path = "provider/device_code.html", config = ".askama.toml")]
pub(super) struct DeviceCodePage<'a> {
    pub(super) action: &'a str,
    pub(super) problem: Option<&'a str>,
}

/// Is it you who wants to sign in there?
#[derive(Template)]
#[template(path = "provider/device_confirm.html", config = ".askama.toml")]
pub(super) struct DeviceConfirmPage<'a> {
    pub(super) action: &'a str,
    pub(super) client: &'a str,
    pub(super) user: &'a str,
    pub(super) code: &'a str,
    pub(super) seal: &'a str,
}

/// Sign out, really?
#[derive(Template)]
#[template(path = "provider/sign_out.html", config = ".askama.toml")]
pub(super) struct SignOutPage<'a> {
    pub(super) action: &'a str,
    pub(super) user: &'a str,
    pub(super) next: &'a str,
    pub(super) seal: &'a str,
}

/// A message of ours that goes on by a form.
#[cfg(feature = "saml")]
#[derive(Template)]
#[template(path = "provider/saml_form.html", config = ".askama.toml")]
pub(super) struct SamlFormPage<'a> {
    pub(super) client: &'a str,
    pub(super) action: &'a str,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) relay_state: Option<&'a str>,
}

/// Something happened, and this is what to do next.
#[derive(Template)]
#[template(path = "provider/message.html", config = ".askama.toml")]
pub(super) struct MessagePage<'a> {
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) advice: &'a str,
}

/// The answer with a page.
pub(super) fn show(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => page(status, html),
        Err(e) => {
            tracing::error!(error = %e, "a page can't be rendered");
            page(StatusCode::INTERNAL_SERVER_ERROR, "This page can't be shown now.")
        }
    }
}

/// A request that leads nowhere: said here, never sent to an address that the request itself names.
pub(super) fn refusal(text: &str) -> Response {
    let advice = "Go back to the application and start again. If it happens again, tell those who run the application \
        what this page says.";
    show(StatusCode::BAD_REQUEST, &MessagePage { title: "This sign-in can't go on", text, advice })
}

pub(super) fn not_found() -> Response {
    let text = "There is no such page at this identity provider.";
    let advice = "Open the application that you want to use; it leads you here when it is time to sign in.";
    show(StatusCode::NOT_FOUND, &MessagePage { title: "Not found", text, advice })
}
