"""Canaries: every form they take is found wherever it lies, nothing else is, and what cannot be opened is named."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import os
import random
import subprocess
import uuid
import zlib
from pathlib import Path

import pytest

from factory import canaries, compressed, finder, seed
from factory.canaries import Canary, search, search_compressed
from factory.errors import BuildError, HostError
from factory.finder import Finder
from factory.inspection import open_image
from tests import images

KEY = seed.new_keypair("a comment")
MACHINE_ID = "8d3ba1c7d3f54b0f9a1c5e7702b4ff10"
MAC = "52:54:00:a1:0b:cd"
HOSTNAME = canaries.for_text("hostname", "hostname", "factory-9f2c41d7ab")


def found(canary: Canary, data: bytes) -> bool:
    return bool(canaries.search_stream([canary], [data], ""))


@pytest.mark.parametrize(
    ("canary", "traces"),
    [
        (HOSTNAME, [b"factory-9f2c41d7ab", base64.b64encode(b"host: factory-9f2c41d7ab\n")]),
        (
            canaries.for_machine_id(MACHINE_ID),
            [MACHINE_ID.encode(), str(uuid.UUID(MACHINE_ID)).encode(), bytes.fromhex(MACHINE_ID)],
        ),
        (
            canaries.for_uuid("SMBIOS UUID", str(uuid.UUID(MACHINE_ID))),
            [uuid.UUID(MACHINE_ID).bytes_le, uuid.UUID(MACHINE_ID).bytes, str(uuid.UUID(MACHINE_ID)).upper().encode()],
        ),
        (
            canaries.for_mac(MAC),
            [
                b"52:54:00:a1:0b:cd",
                b"52-54-00-A1-0B-CD",
                b"enx525400a10bcd",
                b"fe80::5054:ff:fea1:bcd/64",
                b"\x52\x54\x00\xa1\x0b\xcd",
            ],
        ),
    ],
)
def test_every_form_is_found(canary: Canary, traces: list[bytes]) -> None:
    for trace in traces:
        assert found(canary, os.urandom(100) + trace + os.urandom(100)), trace
        middle = len(trace) // 2
        assert not found(canary, trace[:middle] + bytes((trace[middle] ^ 1,)) + trace[middle + 1 :])


@pytest.mark.parametrize("shift", range(7))
def test_base64_is_found_at_every_alignment(shift: int) -> None:
    text = base64.b64encode(b"p" * shift + b"factory-9f2c41d7ab" + b"s" * 20)
    assert found(HOSTNAME, text)


def test_a_key_is_found_in_all_of_its_forms() -> None:
    private, public = canaries.for_ssh_key("login key", KEY)
    body = base64.b64decode("".join(KEY.private_openssh.splitlines()[1:-1]))
    raw = base64.b64decode(KEY.public_openssh.split()[1])[-32:]
    seed_bytes = body[body.rindex(raw) - 32 :][:32]
    lines = [line.encode() for line in KEY.private_openssh.splitlines()]
    for trace in (KEY.private_openssh.encode(), seed_bytes, base64.b64encode(b"x" + seed_bytes), *lines[2:4]):
        assert found(private, trace), trace
    for trace in (KEY.public_openssh.encode(), raw, KEY.fingerprint.encode(), f"{KEY.public_openssh} x".encode()):
        assert found(public, trace)
        assert not found(private, trace)


def test_no_other_key_is_taken_for_it() -> None:
    pair = canaries.for_ssh_key("login key", KEY)
    others = [seed.new_keypair("a comment") for _ in range(50)]
    text = "".join(f"{other.private_openssh}\n{other.public_openssh}\n{other.fingerprint}\n" for other in others)
    assert canaries.search_stream(pair, [text.encode()], "") == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: canaries.for_text("x", "secret", "short"),
        lambda: canaries.for_text("x", "secret", ""),
        lambda: Canary("x", "y", ()),
        lambda: canaries.for_machine_id("123"),
        lambda: canaries.for_mac("52:54:00"),
        lambda: canaries.for_ssh_key("x", seed.KeyPair("-----BEGIN-----\nAAAA\n-----END-----", "ssh-rsa AAAA")),
        lambda: Finder([]),
        lambda: Finder([b"abc", b""]),
    ],
)
def test_what_would_find_anything_or_nothing_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_neither_a_canary_nor_a_hit_shows_its_value() -> None:
    secret = canaries.for_text("password", "secret", "correct horse battery")
    (hit,) = canaries.search_stream([secret], [b"a correct horse battery staple"], "/etc/x")
    assert hit.offset == 2
    assert "horse" not in f"{secret!r} {hit!r} {hit}"
    assert "password" in repr(hit)


def test_a_stream_is_searched_across_its_pieces() -> None:
    generator = random.Random(1)
    patterns = [b"abcdefgh", b"12345678901234567890", b"\0\0end\0"]
    data = bytearray(generator.randbytes(20_000))
    places = sorted(generator.sample(range(0, 19_900, 100), 60))
    for number, place in enumerate(places):
        pattern = patterns[number % 3]
        data[place : place + len(pattern)] = pattern
    pieces, start = [], 0
    while start < len(data):
        size = generator.choice([1, 2, 7, 19, 300])
        pieces.append(bytes(data[start : start + size]))
        start += size
    assert [place.offset for place in Finder(patterns).in_stream(pieces)] == places
    assert [place.pattern for place in Finder(patterns).in_stream([bytes(data)])] == [index % 3 for index in range(60)]


def test_a_file_is_searched_across_chunks_holes_and_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    pattern = b"\0\0needle-needle-needle"
    chunk = finder.CHUNK
    size = 80 * images.MIB
    places = [0, chunk - 10, 2 * chunk - 1, 3 * chunk, 40 * images.MIB - 2, size - len(pattern)]
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, 4 * chunk, chunk):
            file.seek(start)
            file.write(os.urandom(chunk))
        for place in places:
            # Of the one at 40 MiB the two zeros lie in a hole.
            file.seek(place if place != 40 * images.MIB - 2 else place + 2)
            file.write(pattern if place != 40 * images.MIB - 2 else pattern[2:])
    reports: list[tuple[int, int]] = []
    assert [place.offset for place in Finder([pattern]).in_file(path, lambda *how: reports.append(how))] == places
    assert reports[-1][0] == reports[-1][1] < 20 * images.MIB


def test_a_disk_full_of_canaries_ends(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"needle-needle-needle" * 400_000)
    assert len(Finder([b"needle-needle"]).in_file(tmp_path / "disk.raw")) == 200


@pytest.mark.real
def test_every_place_of_a_disk_is_searched_and_named(tmp_path: Path) -> None:
    canary = canaries.for_machine_id(MACHINE_ID)
    text = MACHINE_ID.encode()
    files = dict(images.SYSTEM) | {
        "etc/machine-id": text + b"\n",
        "var/log/journal/system.journal": bytes(1000) + bytes.fromhex(MACHINE_ID),
        "root/.bash_history": b"deleted " + text,
        "srv/spacer": os.urandom(50_000),
    }
    raw = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree", files), "-b", "4096", esp={"id.txt": text})
    images.debugfs(raw, "rm /root/.bash_history")
    journal = int(images.debugfs(raw, "bmap <8> 9").split()[-1])
    with raw.open("r+b") as file:
        file.seek(images.ROOT_START + journal * 4096 + 17)
        file.write(text)
        file.seek(images.MIB + 600_000)  # in the BIOS-boot partition
        file.write(text)
        file.seek(63 * images.MIB + 600_000)  # behind the last partition
        file.write(text)
    hits = search(raw, [canary, HOSTNAME])
    assert [hit.canary for hit in hits] == [canary] * 7
    assert sorted(hit.where.rpartition(", at byte")[0] for hit in hits) == [
        "/etc/machine-id on partition 1",
        "/var/log/journal/system.journal on partition 1",
        "a free block on partition 1",
        "outside of every partition",
        "partition 14",
        "partition 15 (vfat)",
        "the journal on partition 1",
    ]
    for hit in hits:
        assert raw.read_bytes()[hit.offset :].startswith((text, bytes.fromhex(MACHINE_ID)))
        assert hit.where.endswith(f", at byte {hit.offset}")


@pytest.mark.real
def test_forms_of_one_canary_side_by_side_are_one_hit(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(5000) + KEY.private_openssh.encode() + bytes(5000))
    private, public = canaries.for_ssh_key("login key", KEY)
    assert [hit.canary for hit in search(tmp_path / "disk.raw", [private])] == [private]
    assert len(search(tmp_path / "disk.raw", [private, public])) == 2


def test_only_raw_disks_are_searched(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"QFI\xfb" + bytes(100))
    with pytest.raises(BuildError, match="not a raw image"):
        search(tmp_path / "disk", [HOSTNAME])
    with pytest.raises(HostError):
        search(tmp_path / "none", [HOSTNAME])


# Among letters, so that every compressor changes it: a few letters alone would be kept as they are.
LETTERS = "".join(random.Random(2).choices("abcdefghijklmnop", k=3000)).encode()
TRACE = LETTERS + b"factory-9f2c41d7ab" + LETTERS


def packed(kind: str, data: bytes, *options: str) -> bytes:
    """*data* compressed by the program of that name."""
    images.needs(kind)
    return subprocess.run([kind, "-cq", *options], input=data, capture_output=True, check=True).stdout


def cpio(**files: bytes) -> bytes:
    """A cpio archive as initramfs images are made of (newc)."""
    data = b""
    for name, content in [*files.items(), ("TRAILER!!!", b"")]:
        fields = [1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        data += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    return data + bytes(-len(data) % 512)


def unpacked(kind: str, data: bytes, size: int = 1000) -> bytes:
    return b"".join(compressed.unpack(kind, (data[start : start + size] for start in range(0, len(data), size))))


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("gzip", gzip.compress(TRACE, mtime=0)),
        ("gzip", gzip.compress(TRACE[:3000], mtime=0) + gzip.compress(TRACE[3000:], mtime=0) + bytes(512)),
        ("bzip2", bz2.compress(TRACE[:3000]) + bz2.compress(TRACE[3000:])),
        ("xz", lzma.compress(TRACE)),
        ("lzma", lzma.compress(TRACE, lzma.FORMAT_ALONE)),
    ],
)
def test_unpacking(kind: str, data: bytes, size: int) -> None:
    assert compressed.kind_of(data[:6]) == kind
    assert unpacked(kind, data, size) == TRACE


@pytest.mark.real
@pytest.mark.parametrize("options", [("zstd",), ("zstd", "-19"), ("lz4",), ("lz4", "-l")])
def test_unpacking_by_programs(options: tuple[str, ...]) -> None:
    data = packed(options[0], TRACE * 300, *options[1:])
    assert compressed.kind_of(data[:6]) == options[0]
    assert unpacked(options[0], data) == TRACE * 300
    with pytest.raises(compressed.NotOpened):
        unpacked(options[0], data[: len(data) // 2])
    stopped = compressed.unpack(options[0], iter([data]))
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]  # nothing hangs when the rest is not wanted


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        ("gzip", gzip.compress(TRACE, mtime=0)[:-20], "cut off"),
        ("gzip", gzip.compress(TRACE, mtime=0) + b"something", "something else follows"),
        ("gzip", b"\x1f\x8b" + bytes(50), "damaged"),
        ("xz", lzma.compress(TRACE)[:-20], "cut off"),
        ("xz", lzma.compress(random.Random(3).randbytes(5000))[:4000] + bytes(3000), "damaged"),
        ("bzip2", b"BZh9" + random.Random(4).randbytes(50), "damaged"),
        ("gzip", b"", "cut off"),
    ],
)
def test_why_something_is_not_opened(kind: str, data: bytes, why: str) -> None:
    with pytest.raises(compressed.NotOpened, match=why):
        unpacked(kind, data)


def test_a_bomb_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "LARGEST", 5 << 20)
    total = 0
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    with pytest.raises(compressed.NotOpened, match="more than"):
        for piece in compressed.unpack("gzip", [bomb]):
            total += len(piece)
            assert len(piece) <= compressed.PIECE
    assert total <= 5 << 20


@pytest.mark.real
@pytest.mark.parametrize("size", [1, 333, 1 << 20])
def test_an_initramfs_is_several_archives(size: int) -> None:
    early = cpio(microcode=os.urandom(3000))
    for pack in ("gzip", "xz", "zstd", "lz4"):
        data = early + bytes(2048) + packed(pack, cpio(init=TRACE * 100), *(["-l"] if pack == "lz4" else []))
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        assert TRACE in b"".join(compressed.unpack_initramfs(pieces))
    with pytest.raises(compressed.NotOpened, match="neither"):
        list(compressed.unpack_initramfs([early + b"no archive at all"]))
    with pytest.raises(compressed.NotOpened, match="cut off"):
        list(compressed.unpack_initramfs([cpio(a=TRACE)[:2000]]))


@pytest.mark.real
def test_compressed_files_of_an_image_are_searched_or_named(tmp_path: Path) -> None:
    early = cpio(microcode=os.urandom(3000))
    files = (
        dict(images.SYSTEM)
        | {
            "boot/initrd.img-6.1": early + packed("zstd", cpio(init=TRACE)),
            "boot/vmlinuz-6.1": b"MZ" + os.urandom(1000),
            "var/log/syslog.2.gz": gzip.compress(TRACE),
            "var/log/clean.gz": gzip.compress(b"nothing"),
            "root/backup": lzma.compress(TRACE),  # by its content
            "usr/share/doc/x/changelog.xz": lzma.compress(TRACE),
            "usr/share/x/data": gzip.compress(TRACE),  # in /usr names have to do
            "etc/damaged.bz2": bz2.compress(TRACE)[:-10],
            "srv/followed.gz": gzip.compress(TRACE) + b"something",
            "srv/br": b"no suffix",
            "srv/plain.gz": b"plain text",
            "srv/thing.zip": b"PK\3\4" + os.urandom(100),
            "var/log/journal/1/system.journal": b"LPKSHHRH" + bytes(100),
            "usr/lib/modules/6.1/kernel/a.ko.xz": lzma.compress(b"module"),
            "usr/lib/modules/6.1/kernel/b.ko.xz": lzma.compress(b"module"),
        }
    )
    root = images.tree(tmp_path / "tree", files)
    (root / "boot" / "initrd.img").symlink_to("initrd.img-6.1")
    (root / "var" / "log" / "same.gz").hardlink_to(root / "var" / "log" / "syslog.2.gz")
    raw = images.disk(tmp_path / "disk.raw", root)
    assert search(raw, [HOSTNAME]) == []
    with open_image(raw) as image:
        result = search_compressed(image, [HOSTNAME])
    assert [hit.where for hit in result.hits] == [
        "/boot/initrd.img-6.1, unpacked",
        "/etc/damaged.bz2, unpacked",  # what came before the damage
        "/root/backup, unpacked",
        "/srv/followed.gz, unpacked",
        "/usr/share/doc/x/changelog.xz, unpacked",
        "/var/log/same.gz, unpacked",
    ]
    assert {item.path: item.reason for item in result.not_searched} == {
        "/etc/damaged.bz2": "it is cut off",
        "/srv/followed.gz": "something else follows the compressed data",
        "/srv/thing.zip": "it is a zip archive",
        "/var/log/journal/1/system.journal": "it is a systemd journal, whose fields may be compressed",
        "/usr/lib/modules/": "2 compressed files that packages brought",
    }
    assert result.searched == 7


@pytest.mark.real
def test_without_the_program_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed("zstd", TRACE)

    def absent(program: str, **why: str) -> str:
        raise HostError(f"{program} is not installed, and it is needed {why['reason']}")

    monkeypatch.setattr("factory.run.find", absent)
    with pytest.raises(compressed.NotOpened, match="zstd is not installed"):
        unpacked("zstd", data)
