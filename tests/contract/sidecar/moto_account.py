"""Prepares moto before it begins to ask for signatures: a user who may take one role, and a role that may use one bucket.

`moto_account.py URL`: says the user's keys as JSON.
"""

import json
import sys

import boto3

URL = sys.argv[1]
EVERYBODY = {"Version": "2012-10-17",
             "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}}


def client(service):
    return boto3.client(service, endpoint_url=URL, aws_access_key_id="setup", aws_secret_access_key="setup",
                        region_name="us-east-1")


def allow(action, resource):
    return json.dumps({"Version": "2012-10-17",
                       "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})


iam, s3 = client("iam"), client("s3")
for bucket in ("reports", "secrets"):
    s3.create_bucket(Bucket=bucket)
role = iam.create_role(RoleName="reports", AssumeRolePolicyDocument=json.dumps(EVERYBODY))["Role"]["Arn"]
bucket = ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"]
iam.put_role_policy(RoleName="reports", PolicyName="reports", PolicyDocument=allow("s3:*", bucket))
iam.create_user(UserName="claviger")
iam.put_user_policy(UserName="claviger", PolicyName="assume", PolicyDocument=allow("sts:AssumeRole", role))
key = iam.create_access_key(UserName="claviger")["AccessKey"]
print(json.dumps({"role": role, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
