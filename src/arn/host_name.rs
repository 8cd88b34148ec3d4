//! What an AWS host name says of the requests it takes: the signing name and the region.
//!
//! Only what is listed here is known, and the whole name must fit: a name that merely looks like one of AWS's is
//! somebody else's (A29). The rules are those of the AWS General Reference's pages of endpoints and quotas.

use super::{Region, ServiceName};

/// Where a signature for a host counts.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SignedFor {
    /// The signing name, which is not always what the host begins with.
    pub service: ServiceName,
    /// The region; of a global service the one that it signs in.
    pub region: Region,
}

impl SignedFor {
    /// What `host` says; none where it is no host of an AWS service that takes SigV4. It is in lower case, without a
    /// port and without the root's dot.
    pub fn host(host: &str) -> Option<Self> {
        let (service, region) = read(host)?;
        Some(Self { service: service.parse().ok()?, region: region.parse().ok()? })
    }
}

fn read(host: &str) -> Option<(&str, &str)> {
    if !host.split('.').all(is_label) {
        return None;
    }
    let (rest, suffix) = SUFFIXES.iter().find_map(|suffix| Some((host.strip_suffix(suffix)?, *suffix)))?;
    let labels: Vec<&str> = rest.split('.').collect();
    let found = match suffix {
        ".on.aws" => match *labels {
            [_, "lambda-url", region] => Some(("lambda", region)),
            _ => None,
        },
        ".api.aws" | ".api.amazonwebservices.com.cn" => regional(&labels),
        _ => s3(&labels).or_else(|| private(&labels)).or_else(|| global(&labels)).or_else(|| regional(&labels)),
    };
    found.filter(|(_, region)| is_in(region, suffix))
}

/// S3: a bucket, whose name may have dots, an access point or an account may come before.
fn s3<'a>(labels: &[&'a str]) -> Option<(&'a str, &'a str)> {
    match *labels {
        [.., "s3"] => Some(("s3", "us-east-1")),
        [.., name, "dualstack", region] | [.., name, region] if is_region(region) => {
            let name = name.strip_suffix("-fips").unwrap_or(name);
            match name {
                "s3" | "s3-control" | "s3-accesspoint" => Some(("s3", region)),
                "s3-object-lambda" | "s3-outposts" => Some((name, region)),
                "s3express-control" => Some(("s3express", region)),
                zone if zone.starts_with("s3express-") => Some(("s3express", region)),
                _ => None,
            }
        }
        // the old form
        [.., name] => name.strip_prefix("s3-").filter(|region| is_region(region)).map(|region| ("s3", region)),
        [] => None,
    }
}

/// An interface endpoint of a VPC: `vpce-1a2b-3c4d.sqs.eu-west-1.vpce`.
fn private<'a>(labels: &[&'a str]) -> Option<(&'a str, &'a str)> {
    match *labels {
        [.., "bucket" | "accesspoint" | "control", id, "s3", region, "vpce"] if is_vpce(id) => Some(("s3", region)),
        [id, service, region, "vpce"] if is_vpce(id) => signing_name(service).map(|name| (name, region)),
        [_, id, "execute-api", region, "vpce"] if is_vpce(id) => Some(("execute-api", region)),
        _ => None,
    }
}

fn global<'a>(labels: &[&'a str]) -> Option<(&'a str, &'a str)> {
    match *labels {
        [service] => {
            let service = service.strip_suffix("-fips").unwrap_or(service);
            GLOBAL.iter().find(|(name, _)| *name == service).copied()
        }
        [service @ ("iam" | "route53"), "us-gov"] => Some((service, "us-gov-west-1")),
        _ => None,
    }
}

fn regional<'a>(labels: &[&'a str]) -> Option<(&'a str, &'a str)> {
    match *labels {
        [service, region] => {
            let service = service.strip_suffix("-fips").or_else(|| service.strip_prefix("fips-")).unwrap_or(service);
            signing_name(service).map(|name| (name, region))
        }
        [_, "execute-api", region] => Some(("execute-api", region)),
        // a domain of OpenSearch and a collection of its serverless kind
        [_, region, service @ ("es" | "aoss")] => Some((service, region)),
        // an account's own endpoint, which SDKs prefer
        [account, "ddb", region] if account.bytes().all(|b| b.is_ascii_digit()) => Some(("dynamodb", region)),
        ["streams", "dynamodb", region] => Some(("dynamodb", region)),
        ["api", "ecr", region] => Some(("ecr", region)),
        ["api" | "runtime", "sagemaker", region] => Some(("sagemaker", region)),
        ["api", "pricing", region] => Some(("pricing", region)),
        ["entitlement" | "metering", "marketplace", region] => Some(("aws-marketplace", region)),
        [_, "iot", region] => Some(("iotdevicegateway", region)),
        _ => None,
    }
}

/// What a service signs as whose host begins with `name`.
fn signing_name(name: &str) -> Option<&'static str> {
    let renamed = RENAMED.iter().find(|(host, _)| *host == name).map(|(_, signed)| *signed);
    renamed.or_else(|| SAME.iter().find(|known| **known == name).copied())
}

/// Each partition has regions of its own.
fn is_in(region: &str, suffix: &str) -> bool {
    let is_china = region.starts_with("cn-");
    let is_sovereign = region.starts_with("eusc-");
    is_region(region) && is_china == suffix.ends_with(".cn") && is_sovereign == suffix.ends_with(".eu")
}

/// `eu-west-1`, `us-gov-west-1`, `ap-southeast-5`.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    match *parts {
        [area, side, number] | [area, _, side, number] => {
            (2..=4).contains(&area.len()) && SIDES.contains(&side) && matches!(number.as_bytes(), [b'1'..=b'9'])
        }
        _ => false,
    }
}

fn is_vpce(id: &str) -> bool {
    id.strip_prefix("vpce-").is_some_and(|rest| !rest.is_empty())
}

fn is_label(label: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// What a host ends with.
const SUFFIXES: [&str; 6] =
    [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".api.amazonwebservices.com.cn", ".on.aws"];

const SIDES: [&str; 9] =
    ["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];

/// Services with one host for the world, and the region they sign in.
const GLOBAL: [(&str, &str); 12] = [
    ("account", "us-east-1"),
    ("budgets", "us-east-1"),
    ("ce", "us-east-1"),
    ("cloudfront", "us-east-1"),
    ("globalaccelerator", "us-west-2"),
    ("health", "us-east-1"),
    ("iam", "us-east-1"),
    ("organizations", "us-east-1"),
    ("route53", "us-east-1"),
    ("shield", "us-east-1"),
    ("sts", "us-east-1"),
    ("waf", "us-east-1"),
];

/// Hosts that begin with something else than the signing name.
const RENAMED: [(&str, &str); 13] = [
    ("aps-workspaces", "aps"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("data-ats", "iotdata"),
    ("email", "ses"),
    ("pinpoint", "mobiletargeting"),
    ("query", "timestream"),
    ("runtime-v2-lex", "lex"),
    ("session-qldb", "qldb"),
    ("streaming-logs", "logs"),
    ("sync-states", "states"),
    ("transcribestreaming", "transcribe"),
];

/// Hosts that begin with the signing name.
const SAME: [&str; 92] = [
    "access-analyzer",
    "acm",
    "acm-pca",
    "airflow",
    "amplify",
    "appconfig",
    "appconfigdata",
    "application-autoscaling",
    "appsync",
    "athena",
    "autoscaling",
    "autoscaling-plans",
    "backup",
    "batch",
    "bedrock",
    "cloudcontrolapi",
    "cloudformation",
    "cloudhsmv2",
    "cloudtrail",
    "cloudtrail-data",
    "codeartifact",
    "codebuild",
    "codecommit",
    "codedeploy",
    "codepipeline",
    "cognito-identity",
    "cognito-idp",
    "cognito-sync",
    "comprehend",
    "config",
    "connect",
    "datasync",
    "dax",
    "dms",
    "dynamodb",
    "ebs",
    "ec2",
    "ec2messages",
    "ecs",
    "eks",
    "eks-auth",
    "elasticache",
    "elasticbeanstalk",
    "elasticfilesystem",
    "elasticloadbalancing",
    "elasticmapreduce",
    "emr-containers",
    "emr-serverless",
    "es",
    "events",
    "execute-api",
    "firehose",
    "fsx",
    "geo",
    "glue",
    "guardduty",
    "iam",
    "inspector2",
    "iot",
    "kafka",
    "kinesis",
    "kinesisanalytics",
    "kms",
    "lakeformation",
    "lambda",
    "logs",
    "mgh",
    "monitoring",
    "mq",
    "opensearch",
    "organizations",
    "pipes",
    "polly",
    "ram",
    "rds",
    "rds-data",
    "redshift",
    "redshift-data",
    "rekognition",
    "scheduler",
    "secretsmanager",
    "servicediscovery",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "states",
    "sts",
    "tagging",
    "textract",
    "wafv2",
    "xray",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_service_and_region() {
        for (host, said) in [
            ("s3.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("bucket.s3.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("a.dotted.bucket.s3.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("s3.amazonaws.com", "s3 us-east-1"),
            ("bucket.s3.amazonaws.com", "s3 us-east-1"),
            ("s3-eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("s3.dualstack.us-east-2.amazonaws.com", "s3 us-east-2"),
            ("bucket.s3-fips.dualstack.us-gov-west-1.amazonaws.com", "s3 us-gov-west-1"),
            ("123456789012.s3-control.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("point-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "s3 eu-west-1"),
            ("b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "s3express us-east-1"),
            ("point-123456789012.s3-object-lambda.eu-west-1.amazonaws.com", "s3-object-lambda eu-west-1"),
            ("s3.cn-north-1.amazonaws.com.cn", "s3 cn-north-1"),
            ("s3.eusc-de-east-1.amazonaws.eu", "s3 eusc-de-east-1"),
            ("bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com", "s3 us-east-1"),
            ("mine.bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com", "s3 us-east-1"),
            ("vpce-1a2b-3c4d-us-east-1a.sqs.us-east-1.vpce.amazonaws.com", "sqs us-east-1"),
            ("abc123.execute-api.eu-west-1.amazonaws.com", "execute-api eu-west-1"),
            ("abc123.lambda-url.eu-west-1.on.aws", "lambda eu-west-1"),
            ("lambda.eu-west-1.api.aws", "lambda eu-west-1"),
            ("dynamodb.eu-central-1.amazonaws.com", "dynamodb eu-central-1"),
            ("123456789012.ddb.eu-central-1.amazonaws.com", "dynamodb eu-central-1"),
            ("streams.dynamodb.eu-central-1.amazonaws.com", "dynamodb eu-central-1"),
            ("kms-fips.us-west-2.amazonaws.com", "kms us-west-2"),
            ("monitoring.eu-west-1.amazonaws.com", "monitoring eu-west-1"),
            ("email.eu-west-1.amazonaws.com", "ses eu-west-1"),
            ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock us-east-1"),
            ("search-logs-abc.eu-west-1.es.amazonaws.com", "es eu-west-1"),
            ("api.ecr.eu-west-1.amazonaws.com", "ecr eu-west-1"),
            ("iam.amazonaws.com", "iam us-east-1"),
            ("iam.us-gov.amazonaws.com", "iam us-gov-west-1"),
            ("sts.amazonaws.com", "sts us-east-1"),
            ("sts.eu-west-1.amazonaws.com", "sts eu-west-1"),
            ("sts.cn-north-1.amazonaws.com.cn", "sts cn-north-1"),
            ("cloudfront.amazonaws.com", "cloudfront us-east-1"),
            ("route53.amazonaws.com", "route53 us-east-1"),
            ("globalaccelerator.amazonaws.com", "globalaccelerator us-west-2"),
        ] {
            let found = SignedFor::host(host).unwrap_or_else(|| panic!("{host}"));
            assert_eq!(format!("{} {}", found.service, found.region), said, "{host}");
        }
    }

    #[test]
    fn a29_what_looks_like_one_is_none() {
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "169.254.169.254",
            "[::1]",
            "amazonaws.com",
            ".amazonaws.com",
            "s3.eu-west-1.amazonaws.com.evil.test",
            "s3.eu-west-1.amazonaws.com.",
            "S3.eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com:443",
            "s3.eu-west-1.amazonaws.com@evil.test",
            "s3..eu-west-1.amazonaws.com",
            "s3.eu-west-1.evilamazonaws.com",
            "s3.eu-west-1-amazonaws.com",
            "s3.eu-west.amazonaws.com",
            "s3.nowhere-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com.cn",
            "s3.cn-north-1.amazonaws.com",
            "s3-website-eu-west-1.amazonaws.com",
            "bucket.s3-website.eu-west-1.amazonaws.com",
            "ec2-203-0-113-7.eu-west-1.compute.amazonaws.com",
            "mine-123.eu-west-1.elb.amazonaws.com",
            "db.abc.eu-west-1.rds.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "evil.vpce.amazonaws.com",
            "mine.sqs.eu-west-1.vpce.amazonaws.com",
            "made-up.eu-west-1.amazonaws.com",
            "made-up.amazonaws.com",
            "mine.eu-west-1.on.aws",
            "lambda-url.eu-west-1.on.aws",
            "s3_x.eu-west-1.amazonaws.com",
        ] {
            assert_eq!(SignedFor::host(host), None, "{host}");
        }
    }
}
