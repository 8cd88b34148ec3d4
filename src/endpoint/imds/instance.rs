//! What the metadata service says of an instance that there is not, and of its role.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::json;

use crate::arn::{Region, RoleArn};
use crate::clock::rfc3339;
use crate::endpoint::own::{Held, NotHeld};

/// The instance that SDKs are told of.
#[derive(Debug)]
pub(super) struct Instance {
    id: String,
    region: Region,
    zone: String,
    since: SystemTime,
}

/// The keys' document, with its keys in the case that SDKs expect.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Keys<'a> {
    code: &'a str,
    last_updated: String,
    #[serde(rename = "Type")]
    form: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
}

impl Instance {
    /// The same id for the same endpoint, after every start.
    pub(super) fn new(endpoint: &str, region: Region, zone: String, since: SystemTime) -> Self {
        let digest = digest(&SHA256, format!("claviger instance {endpoint}").as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).take(9).collect();
        Self { id: format!("i-{}", hex.get(..17).unwrap_or_default()), region, zone, since }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn region(&self) -> &str {
        self.region.as_str()
    }

    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// The instance identity document. SDKs take the region from it, and some the account.
    pub(super) fn document(&self, account: &str, at: Option<SocketAddr>) -> Vec<u8> {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        };
        let document = json!({
            "accountId": account,
            "architecture": architecture,
            "availabilityZone": self.zone,
            "billingProducts": null,
            "devpayProductCodes": null,
            "imageId": "ami-00000000000000000",
            "instanceId": self.id,
            "instanceType": "claviger.sidecar",
            "kernelId": null,
            "marketplaceProductCodes": null,
            "pendingTime": rfc3339(self.since),
            "privateIp": at.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |at| at.ip()),
            "ramdiskId": null,
            "region": self.region.as_str(),
            "version": "2017-09-30",
        });
        format!("{document:#}").into_bytes()
    }
}

/// `iam/info`.
pub(super) fn info(role: &RoleArn, now: SystemTime) -> Vec<u8> {
    let profile = format!("arn:{}:iam::{}:instance-profile/{}", role.partition(), role.account(), role.role_name());
    let info = json!({
        "Code": SUCCESS,
        "LastUpdated": rfc3339(now),
        "InstanceProfileArn": profile,
        "InstanceProfileId": "AIPACLAVIGER000000000",
    });
    format!("{info:#}").into_bytes()
}

/// The keys. Times have whole seconds: some clients read no others.
pub(super) fn keys(held: &Held, is_extended: bool) -> Vec<u8> {
    let credentials = &held.credentials;
    let keys = Keys {
        code: SUCCESS,
        last_updated: rfc3339(credentials.issued),
        form: "AWS-HMAC",
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        token: credentials.session_token.to_str().unwrap_or_default(),
        expiration: rfc3339(credentials.expires),
        account_id: is_extended.then(|| held.grant.role.account()),
    };
    serde_json::to_vec(&keys).unwrap_or_default() // of texts alone, it can be written
}

/// What SDKs show to their user in place of keys.
pub(super) fn no_keys(error: &NotHeld, now: SystemTime) -> Vec<u8> {
    let told = json!({
        "Code": error.code().to_string(),
        "Message": error.for_the_user(),
        "LastUpdated": rfc3339(now),
    });
    told.to_string().into_bytes()
}

const SUCCESS: &str = "Success";
