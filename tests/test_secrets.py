"""Secrets planted in every input of a publication are nowhere afterwards, whether it ends well or not.

What a build leaves, its image included, is searched by its own scrub.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import secret_watch
from tests.command_line import TOP, Done, program
from tests.magalu_cloud import KEY
from tests.object_store import KEY_ID, SECRET
from tests.publishing_site import Site, healthy, site

__all__ = ["healthy", "site"]
pytestmark = pytest.mark.real  # not beside others: it looks at the words of all processes


BESIDE_A_BUILD = """
import sys
from pathlib import Path
from factory.console import Console
from factory.publish import artefacts
from factory.publish.importer import Wishes
from factory.publish.with_build import Publication
folder = Path(sys.argv[1])
console = Console.create("text")
with console.log_to(folder.parent / "build.log"), Publication(["mgc"], Wishes(), console) as going:
    going.begin(lambda: artefacts.of(folder))
    going.conclude(folder)
"""


def watched(folder: Path, argv: list[str], **environment: str) -> tuple[Done, dict[str, str]]:
    """Run *argv* with secrets in every place; how it ended, and the secrets. No process ever had one as its word."""
    secrets = {
        "the store's secret": SECRET,
        "the API's key": KEY,
        "the proxy's password": "proxy-password-77aa55ee33",
        "a profile's secret": "profile-secret-0011223344556677",
    }
    profile = f"""
        [other]
        aws_access_key_id = AKIAX
        aws_secret_access_key = profile-secret-0011223344556677
        [images]
        aws_access_key_id = {KEY_ID}
        aws_secret_access_key = {SECRET}
    """
    (folder / "aws").write_text(textwrap.dedent(profile))
    (folder / "mgc" / "default").mkdir(parents=True, exist_ok=True)
    (folder / "mgc" / "default" / "auth.yaml").write_text(f"api_key: {KEY}\n")
    more = {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws"),
        "https_proxy": "http://user:proxy-password-77aa55ee33@127.0.0.1:9",
        "no_proxy": "*",
        "FACTORY_STATE": str(folder / "state"),
    }
    watch = secret_watch.Watch(secrets)
    done = subprocess.run(
        argv,
        cwd=TOP,
        env=os.environ | more | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    seen = watch.stop()
    assert watch.looks > 3 and seen == set()
    return done, secrets


def published(site: Site, folder: Path, *words: str, **environment: str) -> tuple[Done, dict[str, str]]:
    return watched(folder, program("publish", site.build, *words), **environment)


def searched(folder: Path, done: Done, secrets: dict[str, str], *, but: tuple[str, ...] = ()) -> None:
    """No secret is in what was shown, nor in any file but those that hold it by their nature."""
    own = {"aws", "mgc", "cloud.key", *but}
    places = [path for path in folder.iterdir() if path.name not in own]
    assert secret_watch.in_files(secrets, places) == set()
    for name, value in secrets.items():
        for shown in (done.stdout, done.stderr):
            assert not any(form in shown.encode() for form in secret_watch.forms(value)), name


def signature_of(url: str) -> str:
    signature = parse_qs(urlsplit(url.strip()).query)["X-Amz-Signature"][0]
    assert re.fullmatch("[0-9a-f]{64}", signature)
    return signature


def credentials(place: str, folder: Path) -> dict[str, str]:
    """Variables by which the credentials come from the *environment*, or from the *profiles* of AWS and mgc only."""
    if place == "environment":
        return {}
    unset = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MGC_API_KEY"), "")
    return unset | {"AWS_PROFILE": "images", "MGC_CONFIG_DIR": str(folder / "mgc")}


@pytest.mark.parametrize(("log", "place"), [("text", "environment"), ("json", "profiles")])
def test_a_publication_that_ends_well(site: Site, tmp_path: Path, log: str, place: str) -> None:
    url_file = tmp_path / "url"
    words = ("--log-format", log, "--url-file", str(url_file))
    done, secrets = published(site, tmp_path, *words, **credentials(place, tmp_path))
    assert done.returncode == 0, done.stderr
    assert url_file.stat().st_mode & 0o777 == 0o600
    secrets["the URL's signature"] = signature_of(url_file.read_text())
    searched(tmp_path, done, secrets, but=("url",))
    nothing_beside(site, secrets)


def nothing_beside(site: Site, secrets: dict[str, str]) -> None:
    """No secret is in anything that lies in the bucket."""
    beside = {key: site.store.read(key) for key in site.stored()}
    assert beside
    for name, value in secrets.items():
        assert not any(form in data for data in beside.values() for form in secret_watch.forms(value)), name


def test_a_publication_beside_a_build(site: Site, tmp_path: Path) -> None:
    done, secrets = watched(tmp_path, [sys.executable, "-c", BESIDE_A_BUILD, str(site.build)])
    assert done.returncode == 0, done.stderr
    assert (site.build.parent / "build.log").stat().st_size
    secrets["the URL's signature"] = signature_of(site.image()["url"])
    searched(tmp_path, done, secrets)
    nothing_beside(site, secrets)


@pytest.mark.parametrize(("into", "place"), [("stdout", "profiles"), ("file", "environment")])
def test_a_fresh_url(site: Site, tmp_path: Path, place: str, into: str) -> None:
    assert published(site, tmp_path)[0].returncode == 0
    words = ["--url-file", str(tmp_path / "url")] if into == "file" else []
    done, secrets = watched(tmp_path, program("presign", site.build, *words), **credentials(place, tmp_path))
    assert done.returncode == 0, done.stderr
    secrets["the URL's signature"] = signature_of((tmp_path / "url").read_text() if words else done.stdout)
    if not words:
        done.stdout = ""  # the one place where it belongs
    searched(tmp_path, done, secrets, but=("url",))


def test_a_publication_that_the_store_refuses(site: Site, tmp_path: Path) -> None:
    done, secrets = published(site, tmp_path, AWS_SECRET_ACCESS_KEY="wrong-secret-abcdef0123456789abcdef")
    assert done.returncode == 6
    searched(tmp_path, done, secrets | {"the wrong one": "wrong-secret-abcdef0123456789abcdef"})


def test_a_publication_that_the_cloud_refuses(site: Site, tmp_path: Path) -> None:
    done, secrets = published(site, tmp_path, MGC_API_KEY="not-the-key-0123456789abcdef")
    assert done.returncode == 6
    searched(tmp_path, done, secrets | {"the wrong one": "not-the-key-0123456789abcdef"})


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    secrets = {"it": "s3cret/with+signs=0123456789"}
    for number, form in enumerate(sorted(secret_watch.forms(secrets["it"]))):
        (tmp_path / f"{number}").write_bytes(b"\0\1" + form + b"\n")
    assert len(secret_watch.in_files(secrets, [tmp_path])) == 3
    watch = secret_watch.Watch(secrets)
    subprocess.run(["sh", "-c", ": s3cret/with+signs=0123456789; sleep 1"], check=True)
    assert watch.stop()
