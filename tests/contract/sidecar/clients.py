"""Unmodified AWS clients at work: what an app in a container does with S3, and whether it ever noticed a rotation.

`clients.py boto3|cli PLAN`: the plan is JSON. Where the keys come from is none of this file's business: both clients find
that in their environment, as any app's do. Says one JSON object a line: `{"what", "seen", "ok"}`.
"""

import filecmp
import json
import os
import subprocess
import sys
import time
import urllib.request

import boto3

SMALL = os.urandom(1024)


class Boto3:
    """One client for as long as the app runs: it asks for new keys by itself."""

    def __init__(self, plan):
        self.plan, self.bucket = plan, plan["bucket"]
        self.s3 = boto3.Session().client("s3", endpoint_url=plan["url"])

    def begin(self):
        """From the metadata service boto3 takes no keys for less than ten minutes: where theirs end before it thinks
        they do, only a new session asks again."""
        if self.plan["name"].startswith("imds"):
            self.__init__(self.plan)

    def list(self):
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def upload(self, path, key):
        self.s3.upload_file(path, self.bucket, key)

    def put(self, path, key):
        with open(path, "rb") as body:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def download(self, key, path):
        self.s3.download_file(self.bucket, key, path)

    def presigned(self, key):
        return self.s3.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=60)

    def parts(self, key):
        return parts(self.s3.head_object(Bucket=self.bucket, Key=key)["ETag"])

    def delete(self, key):
        self.s3.delete_object(Bucket=self.bucket, Key=key)


class Cli:
    """A process for each command, which asks for keys anew."""

    def __init__(self, plan):
        self.aws = [os.path.join(os.path.dirname(sys.executable), "aws"), "--endpoint-url", plan["url"]]
        self.bucket = plan["bucket"]

    def begin(self):
        """Every command begins anew."""

    def run(self, *arguments):
        done = subprocess.run([*self.aws, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout

    def api(self, operation, *arguments):
        return json.loads(self.run("s3api", operation, "--bucket", self.bucket, *arguments) or "{}")

    def list(self):
        return [found["Key"] for found in self.api("list-objects-v2").get("Contents", [])]

    def upload(self, path, key):
        self.run("s3", "cp", "--only-show-errors", path, f"s3://{self.bucket}/{key}")

    def put(self, path, key):
        self.api("put-object", "--key", key, "--body", path)

    def download(self, key, path):
        self.run("s3", "cp", "--only-show-errors", f"s3://{self.bucket}/{key}", path)

    def presigned(self, key):
        return self.run("s3", "presign", f"s3://{self.bucket}/{key}", "--expires-in", "60").strip()

    def parts(self, key):
        return parts(self.api("head-object", "--key", key)["ETag"])

    def delete(self, key):
        self.api("delete-object", "--key", key)


def parts(etag):
    """A multipart upload's ETag ends with the number of its parts."""
    return int(etag.strip('"').split("-")[1]) if "-" in etag else 1


def tell(what, seen, ok):
    print(json.dumps({"what": what, "seen": seen, "ok": ok}), flush=True)


class App:
    def __init__(self, client, plan):
        self.client, self.plan = client, plan
        self.small, self.back = plan["scratch"] + ".small", plan["scratch"] + ".back"
        with open(self.small, "wb") as file:
            file.write(SMALL)
        self.done, self.failed = 0, {}

    def step(self, what, act):
        """One row: what it says where it went well, and the error where not."""
        try:
            self.client.begin()
            seen, ok = act()
        except Exception as error:  # whatever a user would see
            seen, ok = f"{type(error).__name__}: {error}"[:300], False
        tell(what, seen, ok)

    def key(self, name):
        return f"{self.plan['name']}/{name}"

    def small_and_back(self, name):
        key = self.key(name)
        self.client.put(self.small, key)
        self.client.download(key, self.back)
        same = filecmp.cmp(self.small, self.back, shallow=False)
        return "the same bytes" if same else "other bytes", same

    def large_and_back(self, put, name, in_parts):
        key, large = self.key(name), self.plan["large"]
        put(large, key)
        parts = self.client.parts(key)
        self.client.download(key, self.back)
        same = filecmp.cmp(large, self.back, shallow=False)
        self.client.delete(key)
        return f"{'the same' if same else 'other'} bytes, {parts} parts", same and (parts > 1) == in_parts

    def presigned(self):
        key = self.key("kept")
        with urllib.request.urlopen(self.client.presigned(key)) as answer:
            same = answer.read() == SMALL
        return "the same bytes" if same else "other bytes", same

    def listed(self):
        self.client.put(self.small, self.key("kept"))
        found = self.client.list()
        return f"{len(found)} keys", self.key("kept") in found

    def all(self, begun):
        self.step("list", self.listed)
        if self.plan["presigns"]:
            self.step("presigned get", self.presigned)
        self.step("put 1 KiB, get", lambda: self.small_and_back("small"))
        self.turns(begun + self.plan["large_after"])
        self.step("put 200 MiB in parts, get", lambda: self.large_and_back(self.client.upload, "parts", True))
        self.step("put 200 MiB at once, get", lambda: self.large_and_back(self.client.put, "whole", False))

    def turns(self, end):
        """Small requests of each sort, until then."""
        kinds = [self.listed, lambda: self.small_and_back("steady"), self.presigned]
        while time.monotonic() < end:
            try:
                self.client.begin()
                seen, ok = kinds[self.done % len(kinds)]()
            except Exception as error:
                seen, ok = f"{type(error).__name__}: {error}"[:300], False
            if not ok:
                self.failed[seen] = self.failed.get(seen, 0) + 1
            self.done += 1
            time.sleep(self.plan["pace"])

    def tell_of_turns(self):
        tell("turns in the window", self.done, self.done >= self.plan["least"])
        tell("failed among them", f"{sum(self.failed.values())} {self.failed or ''}".strip(), not self.failed)


if __name__ == "__main__":
    kind, plan = {"boto3": Boto3, "cli": Cli}[sys.argv[1]], json.loads(sys.argv[2])
    begun = time.monotonic()
    app = App(kind(plan), plan)
    app.all(begun)
    if plan["seconds"]:
        app.turns(begun + plan["seconds"])
        app.tell_of_turns()
    if "forbidden" in plan:
        app.client.begin()
        app.client.bucket = plan["forbidden"]
        try:
            tell("another bucket", f"{len(app.client.list())} keys", False)
        except Exception as error:
            tell("another bucket", str(error).splitlines()[-1][:200], "AccessDenied" in str(error))
