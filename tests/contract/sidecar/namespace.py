"""Inside a network namespace of its own: the addresses that SDKs take for granted, and boto3 asking at each of them.

`namespace.py CLAVIGER CONFIG MOTO TOKEN_FILE`. The namespace has nothing but a loopback interface; this script puts the
addresses there, because claviger never does. Says one JSON object a line: `{"what", "seen", "ok"}`.
"""

import json
import os
import socket
import subprocess
import sys
import time

CLAVIGER, CONFIG, MOTO, TOKEN_FILE = sys.argv[1:]
ROLE = "arn:aws:sts::123456789012:assumed-role/namespace/"
STS = "http://127.0.0.1:5000"
ASK = f"import boto3; print(boto3.client('sts', endpoint_url='{STS}', region_name='us-east-1').get_caller_identity()['Arn'])"


def listens(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


def start(command, host, port, environment):
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr, stderr=sys.stderr)
    for _ in range(600):
        if listens(host, port):
            return process
        assert process.poll() is None, f"{command[0]} ended"
        time.sleep(0.1)
    raise AssertionError(f"{command[0]} does not listen at {host}:{port}")


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for address in ("169.254.170.2/32", "169.254.170.23/32", "169.254.169.254/32", "fd00:ec2::23/128"):
    subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)

plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
own = plain | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "its-own-secret"}
moto = start([MOTO, "-H", "127.0.0.1", "-p", "5000"], "127.0.0.1", 5000, plain)
claviger = start([CLAVIGER, "serve", CONFIG], "169.254.170.2", 80, own)
try:
    token = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": TOKEN_FILE}
    for what, clues in {
        "RELATIVE_URI, 169.254.170.2": {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v1/credentials"} | token,
        "FULL_URI, 169.254.170.23":
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"} | token,
        "FULL_URI, fd00:ec2::23":
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/credentials"} | token,
    }.items():
        asked = subprocess.run([sys.executable, "-c", ASK], env=plain | clues, capture_output=True, text=True)
        seen = (asked.stdout or asked.stderr).strip().splitlines()[-1][:300]
        print(json.dumps({"what": what, "seen": seen, "ok": seen.startswith(ROLE)}), flush=True)
finally:
    for process in (claviger, moto):
        process.terminate()
        process.wait()
