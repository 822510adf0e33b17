"""Uploads of 3 GiB to an object store on this host: ours, and ``rclone copy`` to the same kind of server."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from bench.measure import Cost, run
from tests.object_store import BUCKET, KEY_ID, SECRET, ObjectStore, running

SIZE = 3 << 30  # bytes
BLOCK = 64 << 20
TOP = Path(__file__).parents[1]
OURS = """
import sys
from pathlib import Path
from factory import copying
from factory.console import Console
from factory.publish import Artefact, transport
from factory.publish.store import open_store
image, console = Path(sys.argv[1]), Console.create()
with console.stage("digest"):
    digest = copying.file_digest(image)
store = open_store(transport.load("generic"), console)
made = Artefact(image, digest, image.stat().st_size, "bench", "1")
with console.stage("upload") as stage, store.begin(made, stage) as upload:
    upload.commit()
"""


def ours(work: Path) -> Cost:
    """Digest, upload in parts, verification, as ``factory publish`` does it."""
    image = _image(work)
    with running(work / "store") as store:
        environment = {**store.settings(), "CI": "1", "PYTHONPATH": str(TOP)}
        cost = run([sys.executable, "-c", OURS, str(image)], log=work / "log", environment=environment)
        _verify(store)
    return replace(cost, size=SIZE)


def rclone(work: Path) -> Cost:
    """``rclone copy`` with its own defaults; it computes a digest, too."""
    image = _image(work)
    with running(work / "store") as store:
        environment = {
            "RCLONE_CONFIG": str(work / "rclone.conf"),
            "RCLONE_CONFIG_STORE_TYPE": "s3",
            "RCLONE_CONFIG_STORE_PROVIDER": "Other",
            "RCLONE_CONFIG_STORE_ENDPOINT": store.endpoint,
            "RCLONE_CONFIG_STORE_REGION": "us-east-1",
            "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": KEY_ID,
            "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": SECRET,
            "RCLONE_CONFIG_STORE_NO_CHECK_BUCKET": "true",
        }
        program = Path(sys.executable).with_name("rclone")
        argv = [str(program), "copy", str(image), f"store:{BUCKET}/bench", "--ca-cert", str(store.ca_bundle)]
        cost = run(argv, log=work / "log", environment=environment)
        _verify(store)
    return replace(cost, size=SIZE)


def _image(work: Path) -> Path:
    """A file of random bytes, in the page cache and on the disk."""
    path = work / "image.qcow2"
    with path.open("wb") as file:
        for _ in range(SIZE // BLOCK):
            file.write(os.urandom(BLOCK))
        file.flush()
        os.fsync(file.fileno())
    return path


def _verify(store: ObjectStore) -> None:
    found = store.client().list_objects_v2(Bucket=BUCKET)["Contents"]
    if [each["Size"] for each in found] != [SIZE]:
        raise RuntimeError(f"the bucket holds {found}")
