"""Real object stores on loopback: SeaweedFS and ``rclone serve s3``, over HTTPS with an authority of their own.

SeaweedFS checks signatures, expiry and digests as Amazon does. rclone's store is the badly behaved one: it answers a
range with 200, knows no trailing checksums, and ends an upload of which one part arrived damaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
import trustme
from botocore.config import Config

from factory.console import Console
from factory.publish import QCOW2_MAGIC, Artefact
from factory.publish.store import Store, open_store
from factory.publish.transport import Transport

KEY_ID, SECRET = "TESTACCESSKEY0001", "testsecretkey00000000000000000000000000a"
BUCKET = "images"
MIB = 1 << 20
SEAWEED = (
    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", "-s3.cacheCapacityMB=0"),
)


class ObjectStore:
    """One store with its folder. It can be stopped, killed, and started again with all it holds."""

    def __init__(self, folder: Path, kind: Literal["seaweedfs", "rclone"] = "seaweedfs", *options: str) -> None:
        self.folder, self.kind, self._options = folder, kind, options
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca_bundle, self.certificate, self.key = folder / "ca.pem", folder / "server.crt", folder / "server.key"
        issued = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca_bundle))
        for pem in issued.cert_chain_pems:
            pem.write_to_path(str(self.certificate), append=True)
        issued.private_key_pem.write_to_path(str(self.key))
        self.ports = _ports(5)
        self.endpoint = f"https://localhost:{self.ports[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GOMEMLIMIT": "200MiB"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._argv(), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.1)

    def _argv(self) -> list[str]:
        program = Path(sys.executable).with_name({"seaweedfs": "weed", "rclone": "rclone"}[self.kind])
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        if self.kind == "rclone":
            return [
                *(str(program), "serve", "s3", str(data), "--addr", f"127.0.0.1:{self.ports[0]}"),
                *("--auth-key", f"{KEY_ID},{SECRET}", "--cert", str(self.certificate), "--key", str(self.key)),
                *self._options,
            ]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        credentials = [{"accessKey": KEY_ID, "secretKey": SECRET}]
        identities = {"identities": [{"name": "admin", "credentials": credentials, "actions": actions}]}
        (self.folder / "s3.json").write_text(json.dumps(identities))
        names = ("s3", "filer", "master", "volume", "admin")
        return [
            *(str(program), "mini", f"-dir={data}", f"-s3.config={self.folder / 's3.json'}"),
            *(f"-s3.cert.file={self.certificate}", f"-s3.key.file={self.key}"),
            *(f"-{name}.port={port}" for name, port in zip(names, self.ports, strict=True)),
            *SEAWEED,
            *self._options,
        ]

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            self.client().list_buckets()
            return True
        return False

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def client(self) -> Any:
        """boto3's own client, to look behind our back."""
        config = Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            verify=str(self.ca_bundle),
            config=config,
        )

    def empty(self) -> None:
        """A bucket with nothing in it and no pending upload."""
        client = self.client()
        with contextlib.suppress(client.exceptions.ClientError):
            client.create_bucket(Bucket=BUCKET)
        for each in self.pending():
            client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])
        for key in self.keys():
            client.delete_object(Bucket=BUCKET, Key=key)

    def keys(self) -> list[str]:
        found = self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found]

    def pending(self) -> list[dict[str, Any]]:
        client = self.client()
        try:
            found: list[dict[str, Any]] = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        except client.exceptions.NoSuchUpload:  # how rclone says that there are none
            return []
        return found

    def parts(self) -> int:
        """How many parts of pending uploads are up."""
        client = self.client()
        return sum(
            len(client.list_parts(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"]).get("Parts", []))
            for each in self.pending()
        )

    def read(self, key: str) -> bytes:
        body: bytes = self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def settings(self) -> dict[str, str]:
        """The environment that leads the factory here, credentials included."""
        return {
            "FACTORY_S3_ENDPOINT": self.endpoint,
            "FACTORY_S3_REGION": "us-east-1",
            "FACTORY_S3_BUCKET": BUCKET,
            "FACTORY_S3_CA_BUNDLE": str(self.ca_bundle),
            "FACTORY_S3_ADDRESSING": "path",
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def running(folder: Path, kind: Literal["seaweedfs", "rclone"] = "seaweedfs", *options: str) -> Iterator[ObjectStore]:
    """A store that runs, with its bucket."""
    store = ObjectStore(folder, kind, *options)
    try:
        store.start()
        store.empty()
        yield store
    finally:
        store.kill()  # an orderly end takes seconds, and nobody reads what it kept


def lead_to(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the settings of this process lead to *store*, and nothing else."""
    for name in [name for name in os.environ if name.startswith(("FACTORY_S3_", "AWS_", "MGC_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in store.settings().items():
        monkeypatch.setenv(name, value)


def opened(console: Console | None = None, *, patience: float = 60.0, **transport: Any) -> Store:
    """The store that the settings lead to."""
    return open_store(
        Transport(target="generic", importer="generic", **transport), console or Console.quiet(), patience=patience
    )


def artefact(folder: Path, size: int = 33 * MIB, *, seed: int = 1, name: str = "nginx") -> Artefact:
    """A file that begins as a qcow2 does and then is random."""
    data = QCOW2_MAGIC + random.Random(seed).randbytes(size - 4)
    path = folder / f"{name}-1.0.0.qcow2"
    path.write_bytes(data)
    return Artefact(
        image=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size=size,
        name=name,
        version="1.0.0",
        build_id="20261122T000000Z-0123abcd",
        digest="d" * 64,
    )


def _ports(count: int) -> list[int]:
    """Free ports; SeaweedFS takes 10,000 above each for gRPC too. None of them is lent to a client meanwhile."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(11000, 22000)  # Linux lends from 32768 on
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10000))
            if not {port, port + 10000, port - 10000} & set(found):
                found.append(port)
    return found
