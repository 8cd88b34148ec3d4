//! A13: HTTP/2 as the specification has it, and what clients do that want to be a burden.

mod floods;
pub mod frames;
mod spec;

use crate::Tools;
use crate::report::Report;
use crate::site::Site;

pub async fn check(report: Report, tools: Tools) {
    let site = Site::start().await;
    spec::check(&report, &tools, &site).await;
    floods::check(&report, &site).await;
}
