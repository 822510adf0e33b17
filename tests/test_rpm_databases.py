"""rpm's databases as rpm and Berkeley DB themselves write them: SQLite, and the hash database of RHEL 8 and older."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.inspection import Unreadable
from factory.reading import packages
from factory.reading.berkeley import BerkeleyError, HashDatabase
from tests.boot_files import rpm_header
from tests.guest_tree import Tree, plant
from tests.images import needs
from tests.rule_images import broken, check, make, remove, write

pytestmark = [pytest.mark.real, pytest.mark.beside]
SPEC = """Name: {name}
Version: 1.2
Release: 3.el8
Summary: {name}
License: none
BuildArch: noarch
%description
{text}
%files
"""


def run(*words: str | Path, entered: str = "") -> str:
    done = subprocess.run(words, input=entered, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(path: Path, pairs: Mapping[bytes, bytes], *options: str) -> bytes:
    """A hash database of Berkeley DB, made by db_load and found right by db_verify; its content."""
    needs("db_load", "db_verify")
    lines = ["VERSION=3", "format=bytevalue", "type=hash", *options, "HEADER=END"]
    lines += [f" {each.hex()}" for pair in pairs.items() for each in pair]
    path.unlink(missing_ok=True)
    run("db_load", path, entered="\n".join([*lines, "DATA=END", ""]))
    run("db_verify", path)
    return path.read_bytes()


def number(value: int) -> bytes:
    return struct.pack("<I", value)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rpm's own database in SQLite, of packages that rpmbuild made."""
    needs("rpm", "rpmbuild")
    work = tmp_path_factory.mktemp("rpm")
    top = ["--define", f"_topdir {work / 'build'}", "--define", f"_rpmdir {work / 'rpms'}"]
    for name in ("alpha", "beta-agent", "gamma"):
        spec = work / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, text="a line of its description\n" * (400 if name == "gamma" else 1)))
        subprocess.run(["rpmbuild", "-bb", "--quiet", *top, spec], capture_output=True, check=False)
    made = list((work / "rpms").rglob("*.rpm"))
    assert len(made) == 3
    (work / "db").mkdir()
    run("rpm", "-i", "--justdb", "--nodeps", "--force-debian", "--dbpath", work / "db", *made)
    return work / "db"


EXPECTED = {"alpha": "1.2-3.el8", "beta-agent": "1.2-3.el8", "gamma": "1.2-3.el8"}


def guest(folder: Path, name: str, content: bytes) -> Tree:
    return Tree(plant(folder, {f"/var/lib/rpm/{name}": content}))


def test_rpm_s_own_sqlite(real: Path, tmp_path: Path) -> None:
    content = (real / "rpmdb.sqlite").read_bytes()
    assert dict(packages.read(guest(tmp_path, "rpmdb.sqlite", content)).installed) == EXPECTED


def test_rpm_s_berkeley_database_which_rpm_reads_too(real: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(real / "rpmdb.sqlite")) as database:
        headers = {number(key): bytes(blob) for key, blob in database.execute("SELECT hnum, blob FROM Packages")}
    assert max(map(len, headers.values())) > 8192  # so that one lies on pages of its own
    (tmp_path / "db").mkdir()
    content = load(tmp_path / "db/Packages", {number(0): number(3), **headers}, "db_pagesize=4096")
    words = ("rpm", "-qa", "--dbpath", tmp_path / "db", "--define", "_db_backend bdb_ro", "--qf", "%{NAME}\n")
    assert set(run(*words).split()) == set(EXPECTED)
    found = packages.read(guest(tmp_path / "guest", "Packages", content))
    assert dict(found.installed) == EXPECTED
    assert found.evidence("gamma") == "/var/lib/rpm/Packages: gamma 1.2-3.el8"


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (0, ()),
        (1, ()),
        (2000, ("db_pagesize=4096",)),
        (300, ("db_pagesize=512",)),
        (300, ("db_pagesize=65536",)),
        (300, ("db_lorder=4321",)),
        (300, ("h_nelem=5000",)),
    ],
)
def test_hash_databases_of_every_shape(tmp_path: Path, count: int, options: tuple[str, ...]) -> None:
    generator = random.Random(count)
    pairs = {number(key): generator.randbytes(generator.choice([0, 20, 900, 5000, 40_000])) for key in range(count)}
    assert dict(HashDatabase(load(tmp_path / "db", pairs, *options)).pairs()) == pairs


def small(folder: Path) -> bytes:
    names = [f"package-{index}" for index in range(40)]
    pairs = {number(0): number(40)} | {number(index): rpm_header(name) for index, name in enumerate(names, 1)}
    pairs[number(99)] = rpm_header("n" * 3000)
    return load(folder / "small", pairs, "db_pagesize=512")


def test_the_number_of_the_last_package_is_none(tmp_path: Path) -> None:
    found = packages.read(guest(tmp_path / "guest", "Packages", small(tmp_path)))
    assert len(found.installed) == 41


def test_a_database_that_is_cut_off(tmp_path: Path) -> None:
    content = small(tmp_path)
    for index, size in enumerate((0, 100, 512, 1000, len(content) // 2 // 512 * 512, len(content) - 512)):
        with pytest.raises(Unreadable):
            packages.read(guest(tmp_path / str(index), "Packages", content[:size]))


def buckets(content: bytes) -> list[int]:
    """The places of the first pages of the buckets, in a database with pages of 512 bytes."""
    spares = struct.unpack_from("<32I", content, 96)
    count = struct.unpack_from("<I", content, 72)[0] + 1
    return [512 * (bucket + spares[bucket.bit_length()]) for bucket in range(count)]


@pytest.mark.parametrize("size", [26, 512])
def test_a_bucket_that_was_zeroed_is_not_an_empty_one(tmp_path: Path, size: int) -> None:
    content = small(tmp_path)
    lossy = [place for place in buckets(content) if struct.unpack_from("<H", content, place + 20)[0]]
    assert len(lossy) == 6
    for place in lossy:
        with pytest.raises(BerkeleyError, match=r"empty|damaged"):
            list(HashDatabase(content[:place] + bytes(size) + content[place + size :]).pairs())


def test_a_later_page_of_a_bucket_that_was_zeroed(tmp_path: Path) -> None:
    content = small(tmp_path)
    later = [struct.unpack_from("<I", content, place + 16)[0] for place in range(512, len(content), 512)]
    for place in {512 * number for number in later if number}:
        with pytest.raises(BerkeleyError, match="damaged"):
            list(HashDatabase(content[:place] + bytes(512) + content[place + 512 :]).pairs())


def test_a_bucket_on_the_first_page_is_damage(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path))
    content[96:100] = bytes(4)
    with pytest.raises(BerkeleyError, match="not there"):
        list(HashDatabase(bytes(content)).pairs())


@pytest.mark.parametrize("count", [3, 40, 400])
def test_a_database_that_was_dumped_and_loaded(tmp_path: Path, count: int) -> None:
    """As broken ones of rpm are mended; the number of pairs that it names is then twice the true one."""
    pairs = {number(key): b"x" * key for key in range(count)}
    load(tmp_path / "db", pairs, "db_pagesize=512")
    run("db_load", tmp_path / "again", entered=run("db_dump", tmp_path / "db"))
    content = (tmp_path / "again").read_bytes()
    assert struct.unpack_from("<I", content, 88)[0] == 2 * count
    assert dict(HashDatabase(content).pairs()) == pairs


def test_a_chain_of_pages_that_is_a_loop(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path))
    for place in range(512, len(content), 512):
        if content[place + 25] == 7 and struct.unpack_from("<I", content, place + 16)[0]:
            struct.pack_into("<I", content, place + 16, place // 512)
    with pytest.raises(BerkeleyError, match="two chains"):
        list(HashDatabase(bytes(content)).pairs())


def test_a_long_item_that_lost_a_part(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path))
    place = next(place for place in range(512, len(content), 512) if content[place + 25] == 7)
    struct.pack_into("<H", content, place + 22, 100)
    with pytest.raises(BerkeleyError, match="long item"):
        list(HashDatabase(bytes(content)).pairs())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_answer_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    global _small
    _small = _small or small(tmp_path_factory.mktemp("damage"))
    content = bytearray(_small)
    for _ in range(data.draw(st.integers(1, 6))):
        page = data.draw(st.integers(0, len(content) // 512 - 1)) * 512
        place = page + data.draw(st.one_of(st.integers(0, 60), st.integers(0, 511)))
        content[place] = data.draw(st.sampled_from([0, 1, 2, 7, 8, 13, 127, 255]))
    try:
        assert len(list(HashDatabase(bytes(content)).pairs())) < 2000
    except BerkeleyError as error:
        assert str(error)


_small = b""


@pytest.mark.parametrize(("agents", "rules"), [(("WALinuxAgent",), {"GEN-G37"}), (("WALinuxAgent-no",), set())])
def test_a_check_of_a_guest_with_such_a_database(tmp_path: Path, agents: tuple[str, ...], rules: set[str]) -> None:
    names = ("openssh-server", "cloud-init", "cloud-utils-growpart", "kernel-core", "qemu-guest-agent", *agents)
    headers = {number(index): rpm_header(name) for index, name in enumerate(names, 1)}
    content = load(tmp_path / "db", {number(0): number(len(names)), **headers})
    path = make(tmp_path / "disk", "rhel", remove("/var/lib/rpm/rpmdb.sqlite"), write("/var/lib/rpm/Packages", content))
    assert set(broken(check(path))) == rules
