"""Images, names and files for URLs that are called as few are: other scripts, no UTF-8, pipes and links."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from factory.errors import UsageError
from factory.publish import Artefact
from factory.publish.importer import Wishes
from factory.publish.keys import metadata_of, plain
from factory.publish.mgc_request import request_for
from tests.command_line import run
from tests.publishing_site import Site, a_build, healthy, site

pytestmark = [pytest.mark.real, pytest.mark.beside]
__all__ = ["healthy", "site"]


@pytest.mark.parametrize("name", [b"we\xffb.qcow2", "日本.qcow2".encode()])
def test_an_image_with_any_name_is_published_and_signed_for(
    site: Site, tmp_path: Path, healthy: Path, name: bytes
) -> None:
    image = tmp_path / os.fsdecode(name)
    shutil.copyfile(healthy, image)
    done = run("publish", image, "--target", "generic")
    assert done.returncode == 0, done.stderr
    done = run("publish", image, "--target", "mgc", "--name", "odd")
    assert done.returncode == 0, done.stderr
    assert site.image()["name"] == "odd"
    done = run("presign", image)
    assert done.returncode == 0, done.stderr
    keys = [key for key in sorted(site.store.keys()) if key.endswith(".json")]
    documents = [site.store.client().get_object(Bucket="images", Key=key)["Body"].read() for key in keys]
    assert all(json.loads(each) for each in documents) and len(documents) == 2


@pytest.mark.parametrize("option", ["--name", "--version", "--description"])
def test_words_that_are_no_utf_8_reach_a_person(site: Site, tmp_path: Path, option: str) -> None:
    build = a_build(tmp_path / "out" / "any", targets=["generic"])
    for more in ((), ("--dry-run",)):
        done = run("publish", build, "--target", "generic", option, os.fsdecode(b"a\xffb"), *more)
        assert done.returncode == 0, done.stderr
    assert json.loads((build / "import.json").read_text())[option[2:]] == "a?b"
    assert run("publish", site.build, "--target", "mgc", option, os.fsdecode(b"a\xffb")).returncode == 2


def test_the_cloud_wants_a_name_of_its_letters_for_an_image_without_them() -> None:
    made = Artefact(Path("日本.qcow2"), "ab" * 32, 10, "日本", virtual_size=1 << 30)
    with pytest.raises(UsageError, match="--name") as caught:
        request_for(made, Wishes())
    assert caught.value.code == "usage.publish"
    assert request_for(made, Wishes(name="odd")).name == "odd"


def test_a_part_of_a_key_is_plain_and_always_the_same() -> None:
    for name in ("日本", "---", "\udcff", "..", ""):
        part = plain(name)
        assert part == plain(name) and part.isascii() and part[0].isalnum(), name
    assert plain("日本") != plain("日月")
    assert plain("a b") == "a-b"


def test_metadata_is_ascii_whatever_the_name() -> None:
    told = metadata_of(Artefact(Path("x"), "ab" * 32, 10, "we\udcffb\n", "1"))
    assert all(text.isascii() and text.isprintable() for text in told.values())


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "folder"])
def test_only_a_plain_file_is_written_with_a_url(site: Site, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "url"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        (tmp_path / "real").write_text("x")
        place.symlink_to("real" if kind == "link" else "nothing")
    before = place.lstat()
    for words in (("publish", site.build), ("presign", site.build, "--target", "mgc")):
        done = site.factory(*words, "--url-file", place)
        assert done.returncode == 2, done.stderr
        assert f"--url-file {place} cannot be written" in " ".join(done.stderr.split())
    assert (place.lstat().st_ino, stat.S_IFMT(place.lstat().st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode))
    assert site.untouched()
