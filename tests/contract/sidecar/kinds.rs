//! The kinds of endpoint, a row each: what the config says of one, and what clients have in their environment to find it.

use std::path::Path;

use crate::minio::REGION;

/// A way for an app to its credentials.
#[derive(Debug)]
pub(crate) struct Kind {
    /// In the table, and as a part of sections' names.
    pub(crate) name: &'static str,
    /// Of `[endpoint.<name>]`.
    kind: &'static str,
    /// Its own keys, beside `address`, `identity`, `credentials` and `role`; `@token_file@` is filled in.
    settings: &'static str,
    /// `@port@` and `@token_file@` are filled in.
    clues: &'static [(&'static str, &'static str)],
    /// Whether the keys are claviger's own: the app's requests go to claviger, which checks and signs them anew.
    pub(crate) signs_anew: bool,
}

/// A program that has it as its own business to find credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Boto3,
    Cli,
}

const CONTAINER: Kind = Kind {
    name: "container",
    kind: "container",
    settings: "token_file = \"@token_file@\"\n",
    clues: &[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:@port@/v1/credentials"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "@token_file@"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ],
    signs_anew: false,
};

pub(crate) const KINDS: &[Kind] = &[
    CONTAINER,
    Kind {
        name: "imds",
        kind: "imds",
        settings: "region = \"us-east-1\"\n",
        clues: &[
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:@port@/"),
            ("AWS_EC2_METADATA_V1_DISABLED", "true"),
        ],
        signs_anew: false,
    },
    Kind {
        name: "own-keys",
        settings: "token_file = \"@token_file@\"\nkeys = \"own\"\n",
        signs_anew: true,
        ..CONTAINER
    },
];

impl Kind {
    /// The name of the section that one client has for itself, so that its rotations are counted apart.
    pub(crate) fn endpoint(&self, client: Client) -> String {
        format!("{}-{}", self.name, client.name())
    }

    /// The section of that name.
    pub(crate) fn section(&self, name: &str, port: u16, issuer: &str, role: &str, token_file: &Path) -> String {
        let settings = self.settings.replace("@token_file@", &token_file.to_string_lossy());
        format!(
            "\n[endpoint.{name}]\nkind = \"{kind}\"\naddress = \"127.0.0.1:{port}\"\nidentity = \"workload\"\n\
             credentials = \"{issuer}\"\nrole = \"{role}\"\n{settings}",
            kind = self.kind
        )
    }

    /// What an app has in its environment.
    pub(crate) fn clues(&self, port: u16, token_file: &Path) -> Vec<(&'static str, String)> {
        let filled = |text: &str| {
            text.replace("@port@", &port.to_string()).replace("@token_file@", &token_file.to_string_lossy())
        };
        let region = ("AWS_DEFAULT_REGION", REGION.to_owned());
        self.clues.iter().map(|(name, text)| (*name, filled(text))).chain([region]).collect()
    }
}

impl Client {
    pub(crate) const ALL: [Self; 2] = [Self::Boto3, Self::Cli];

    /// As `clients.py` and the config call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3",
            Self::Cli => "cli",
        }
    }
}
