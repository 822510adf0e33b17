"""Secrets planted in every input of a publication are nowhere afterwards, whether it ends well or not.

What a build leaves, its image included, is searched by its own scrub.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import secret_watch
from tests.command_line import Done, run
from tests.magalu_cloud import KEY
from tests.object_store import SECRET
from tests.test_publish_verb import Site, healthy, seaweed, site

__all__ = ["healthy", "seaweed", "site"]
pytestmark = pytest.mark.real


def published(site: Site, folder: Path, *words: str, **environment: str) -> tuple[Done, dict[str, str]]:
    """Run the verb as a process; how it ended, and the secrets that it had."""
    secrets = {
        "the store's secret": SECRET,
        "the API's key": KEY,
        "the proxy's password": "proxy-password-77aa55ee33",
        "a profile's secret": "profile-secret-0011223344556677",
    }
    profile = "[other]\naws_access_key_id = AKIAX\naws_secret_access_key = profile-secret-0011223344556677\n"
    (folder / "aws").write_text(profile)
    more = {
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws"),
        "https_proxy": "http://user:proxy-password-77aa55ee33@127.0.0.1:9",
        "no_proxy": "*",
        "FACTORY_STATE": str(folder / "state"),
    }
    watch = secret_watch.Watch(secrets)
    done = run("publish", site.build, *words, **more, **environment)
    seen = watch.stop()
    assert watch.looks > 3 and seen == set()
    return done, secrets


def searched(folder: Path, done: Done, secrets: dict[str, str], *, but: tuple[str, ...] = ()) -> None:
    """No secret is in what was shown, nor in any file but those that hold it by their nature."""
    own = {"aws", "cloud.key", *but}
    places = [path for path in folder.iterdir() if path.name not in own]
    assert secret_watch.in_files(secrets, places) == set()
    for name, value in secrets.items():
        for shown in (done.stdout, done.stderr):
            assert not any(form in shown.encode() for form in secret_watch.forms(value)), name


@pytest.mark.parametrize("log", ["text", "json"])
def test_a_publication_that_ends_well(site: Site, tmp_path: Path, log: str) -> None:
    url_file = tmp_path / "url"
    done, secrets = published(site, tmp_path, "--log-format", log, "--url-file", str(url_file))
    assert done.returncode == 0, done.stderr
    signature = parse_qs(urlsplit(url_file.read_text().strip()).query)["X-Amz-Signature"][0]
    assert re.fullmatch("[0-9a-f]{64}", signature) and url_file.stat().st_mode & 0o777 == 0o600
    secrets["the URL's signature"] = signature
    searched(tmp_path, done, secrets, but=("url",))
    beside = {key: site.store.read(key) for key in site.stored()}
    for name, value in secrets.items():
        assert not any(form in data for data in beside.values() for form in secret_watch.forms(value)), name


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
