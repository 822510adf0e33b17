"""A file that the command line names, and what is told when it is none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from factory import given_file, images
from factory.errors import UsageError
from factory.publish import artefacts
from tests import command_line
from tests.ordinary_user import ROOT, as_ordinary_user


def refused(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        given_file.require(path)
    return caught.value


def test_a_file_and_a_link_to_one_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.img").touch()
    (tmp_path / "link").symlink_to("a.img")
    assert given_file.require(tmp_path / "link") == tmp_path / "link"


def test_the_name_of_a_recipe_that_was_built_leads_to_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "out" / "web" / "20260101T000000Z-0123abcd" / "web-1.0.0.qcow2"
    image.parent.mkdir(parents=True)
    image.touch()
    (image.parent / "manifest.json").touch()
    (image.parent.parent / "latest").symlink_to(image.parent.name)
    error = refused(Path("web"))
    assert error.code == "usage.no-such-file"
    assert error.cause == "The newest image of the recipe web is out/web/latest/web-1.0.0.qcow2"
    assert refused(Path("wab")).cause == "" and refused(Path("x" * 300)).cause == ""


def test_what_is_no_file_is_told_for_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(tmp_path / "socket"))
    for name, kind in (("folder", "a folder"), ("pipe", "a pipe"), ("socket", "a socket"), ("/dev/null", "a device")):
        error = refused(tmp_path / name)
        assert (error.code, error.status) == ("usage.not-a-file", 2)
        assert f" is {kind}, no image file" in error.message
    (tmp_path / "folder" / "disk.qcow2").touch()
    assert "folder/disk.qcow2" in refused(tmp_path / "folder").cause


def test_a_link_to_nothing_says_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "latest.qcow2").symlink_to("gone.qcow2")
    (tmp_path / "round").symlink_to("round")
    assert "a symbolic link to gone.qcow2, which is not there" in refused(tmp_path / "latest.qcow2").message
    assert "in a circle" in refused(tmp_path / "round").message


def test_a_misspelt_name_gets_the_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "nginx-1.0.0.qcow2").touch()
    assert "Did you mean" in (found := refused(tmp_path / "ngnix-1.0.0.qcow2").cause) and "nginx-1.0.0.qcow2?" in found
    assert "nginx-1.0.0.qcow2" in refused(tmp_path / "other.img").cause
    assert "is not there" in refused(tmp_path / "none" / "x.img").cause
    assert "is not there" in refused(tmp_path / ("a" * 300) / "x.qcow2").cause
    assert refused(Path("a\0b", "x.img")).code == refused(Path("\udcff", "\udcfe.img")).code == "usage.no-such-file"
    assert refused(Path("a" * 300)).code == refused(Path("a\0b")).code == "usage.no-such-file"


def test_publishing_a_misspelt_file_speaks_of_files_and_a_misspelt_build_of_builds(tmp_path: Path) -> None:
    (tmp_path / "disk.qcow2").touch()
    (tmp_path / "out" / "nginx" / "20261122T002202Z-50ffdfc7").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no image file.*Did you mean .*disk\.qcow2\?"):
        artefacts.find(str(tmp_path / "disc.qcow2"), tmp_path / "out")
    with pytest.raises(UsageError, match="a pipe"):
        os.mkfifo(tmp_path / "pipe")
        artefacts.find(str(tmp_path / "pipe"), tmp_path / "out")
    with pytest.raises(UsageError, match=r"no build 'ngnix'.*Did you mean nginx\?"):
        artefacts.find("ngnix", tmp_path / "out")
    for name in ("*", "**x", "[a", "a\0b", "a" * 300):  # a name, never a pattern
        with pytest.raises(UsageError, match="no build"):
            images.folder(name, tmp_path / "out")
    with pytest.raises(UsageError, match=r"a folder without a manifest\.json"):
        images.folder(str(tmp_path), tmp_path / "out")


@pytest.mark.parametrize(
    "words",
    [
        ("check", "{long}/x.qcow2"),
        ("test", "{long}/x.qcow2"),
        ("presign", "{long}/x.qcow2"),
        ("publish", "{long}/x.qcow2", "--target", "mgc"),
        ("presign", "x", "--url-file", "{long}/x"),
        ("build", "nginx", "--junit", "{long}/x"),
        ("build", "nginx", "--junit", "{long}"),
        ("check", "{image}", "--fix", "--output", "{long}/x"),
        ("images", "list", "--output", "{long}"),
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_no_defect(
    tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    command_line.own_places(tmp_path, monkeypatch)
    (tmp_path / "disk.img").write_bytes(bytes(512))
    names = {"long": str(tmp_path / ("a" * 300)), "image": str(tmp_path / "disk.img")}
    done = command_line.run(*(word.format(**names) for word in words))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.startswith("error: ")


@pytest.mark.real
def test_a_file_that_this_user_may_not_read_is_told_as_that(tmp_path: Path) -> None:
    source = "import sys, pathlib; from factory import given_file; given_file.require(pathlib.Path(sys.argv[1]))"
    path = tmp_path / "user" / "closed.img"
    argv = as_ordinary_user([sys.executable, "-c", source, path], tmp_path / "user")
    path.touch(0o000)
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert "UsageError: this user may not read" in done.stderr
