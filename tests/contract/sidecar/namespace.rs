//! A network namespace with the link-local addresses at which SDKs look without being told: claviger answers there, and
//! has not put them there.

use std::fs;
use std::time::Duration;

use tokio::process::Command;

use super::claviger::TOKEN;
use super::{Site, apps};
use crate::report::Report;

/// Asks boto3 at each address. Where a machine lets nobody make a namespace, that is a row that is not met.
pub(crate) async fn check(site: &Site<'_>) -> Report {
    let mut report = Report::default();
    let folder = site.kept.join("namespace");
    fs::create_dir_all(&folder).expect("the folder is writable");
    let (config, token_file) = (folder.join("claviger.toml"), folder.join("token"));
    fs::write(&token_file, TOKEN).expect("the folder is writable");
    let text = CONFIG
        .replace("@folder@", &folder.to_string_lossy())
        .replace("@workload@", &site.token_file().to_string_lossy());
    fs::write(&config, text).expect("the folder is writable");
    let log = fs::File::create(folder.join("log")).expect("the folder is writable");
    let asked = Command::new("unshare")
        .args(["--map-root-user", "--net", "--kill-child"])
        .args([site.program("python"), Site::script("namespace.py")])
        .args([env!("CARGO_BIN_EXE_claviger").as_ref(), &*config])
        .args([site.program("moto_server"), token_file])
        .stderr(log)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, asked).await;
    let (ended, said) = match &output {
        Ok(Ok(output)) => (output.status.to_string(), String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Err(error)) => (error.to_string(), String::new()),
        Err(_) => ("is not ready in time".to_owned(), String::new()),
    };
    apps::rows("boto3 in a namespace", &said, &mut report);
    report.equal("boto3 in a namespace: the program", "exit status: 0".to_owned(), ended);
    report
}

const CONFIG: &str = r#"
state_dir = "@folder@/state"

[identity.workload]
kind = "token_file"
path = "@workload@"

[credentials.moto]
kind = "assume_role"
region = "us-east-1"
endpoint = "http://127.0.0.1:5000"
base = ["environment"]

[endpoint.ecs]
kind = "container"
address = "169.254.170.2:80"
token_file = "@folder@/token"
identity = "workload"
credentials = "moto"
role = "arn:aws:iam::123456789012:role/namespace"

[endpoint.eks]
kind = "container"
address = "169.254.170.23:80"
token_file = "@folder@/token"
identity = "workload"
credentials = "moto"
role = "arn:aws:iam::123456789012:role/namespace"

[endpoint.eks6]
kind = "container"
address = "[fd00:ec2::23]:80"
token_file = "@folder@/token"
identity = "workload"
credentials = "moto"
role = "arn:aws:iam::123456789012:role/namespace"
"#;

const PATIENCE: Duration = Duration::from_secs(180);
