"""Damaged and hostile btrfs: each ends with an answer or a reason, soon, and nothing is silently left out."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import lzallright
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.inspection import Unreadable, open_image
from factory.inspection.btrfs import Btrfs
from factory.inspection.btrfs.codecs import LARGEST, unpacked
from factory.inspection.filesystems import VolumeError
from tests.btrfs_disk import SHIFT, Maker
from tests.btrfs_tree import CODECS, LAST, packed
from tests.test_btrfs import TEXT, everything, system


def volume(data: bytes) -> Btrfs:
    return Btrfs(lambda offset, size: data[offset : offset + size], len(data))


def walked(data: bytes) -> dict[str, bytes]:
    """Everything there is, in this process: nothing but VolumeError may come out."""
    opened = volume(data)
    found: dict[str, bytes] = {}
    seen = set()
    left = [("", opened.root)]
    while left:
        path, folder = left.pop()
        if folder in seen:
            raise VolumeError(f"{path} twice")
        seen.add(folder)
        for name, inode in opened.names(folder)[0].items():
            entry = opened.entry(inode)
            opened.xattrs(inode)
            if entry.kind == "dir":
                left.append((f"{path}/{name}", inode))
            elif entry.kind == "symlink":
                opened.link(entry)
            elif entry.kind == "file":
                found[f"{path}/{name}"] = opened.read(inode, 0, 1 << 20)
    list(opened.tops())
    return found


@pytest.fixture(scope="module")
def maker() -> Maker:
    return everything(Maker())


@pytest.fixture(scope="module")
def disk(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return maker.write(tmp_path_factory.mktemp("made") / "disk").read_bytes()


def few(maker: Maker) -> Maker:
    """A folder of small files, compressed ones, and a subvolume."""
    top = maker.subvolume()
    system(top)
    wide = top.folder(256, b"wide")
    for index in range(60):
        top.file(wide, b"file-%d" % index, b"%d" % index)
    for codec in CODECS:
        top.file(256, codec.encode(), TEXT[:200_000], compression=codec)
    inner = maker.subvolume(256)
    top.nest(256, b"inner", inner)
    inner.file(256, b"note", b"text")
    return maker


def test_any_flipped_bit_of_metadata_is_told(tmp_path: Path) -> None:
    maker = few(Maker(node=4096))
    disk = bytearray(maker.write(tmp_path / "disk").read_bytes())
    right = walked(bytes(disk))
    told = 0
    for address, place in maker.places.items():
        for at in (40, 200, maker.node - 1):
            disk[place + at] ^= 4
            try:
                assert walked(bytes(disk)) == right  # a tree that is not needed to read files
            except VolumeError as error:
                assert str(address) in str(error)
                told += 1
            disk[place + at] ^= 4
    assert told > 3 * 8


def test_a_flipped_bit_of_data_is_told(tmp_path: Path) -> None:
    maker = few(Maker())
    disk = bytearray(maker.write(tmp_path / "disk").read_bytes())
    assert len(maker.extents) == 6
    for extent in maker.extents:
        for at in (0, extent.size - 1):
            disk[extent.address - SHIFT + at] ^= 1
            with pytest.raises(VolumeError, match="wrong checksum"):
                walked(bytes(disk))
            disk[extent.address - SHIFT + at] ^= 1
    walked(bytes(disk))


def test_the_second_copy_stands_in(tmp_path: Path) -> None:
    maker = everything(Maker(dup=True))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    right = walked(bytes(data))
    for place in maker.places.values():
        data[place + 100] ^= 1
    assert walked(bytes(data)) == right


def leaf_item(maker: Maker, data: bytes, wanted: tuple[int, int, int]) -> tuple[int, int]:
    """Where the item with a key lies on the disk, and where its entry in the leaf is."""
    for place in maker.places.values():
        count, level = struct.unpack_from("<IB", data, place + 0x60)
        for index in range(0 if level else count):
            entry = place + 101 + 25 * index
            number, kind, offset, at, _ = struct.unpack_from("<QBQII", data, entry)
            if (number, kind, offset) == wanted:
                return place + 101 + at, entry
    raise AssertionError(wanted)


SUPERBLOCK: list[tuple[int, str, int, str]] = [
    (0x88, "<Q", 2, "2 devices"),
    (0x70, "<Q", 1 << 60, "only"),
    (0x90, "<I", 100, "impossible"),
    (0x94, "<I", 1 << 30, "impossible"),
    (0xA0, "<I", 5000, "impossible"),
    (0xA0, "<I", 20, "damaged"),
    (0xBC, "<Q", 1 << 12, "zones"),
    (0xBC, "<Q", 1 << 40, "features"),
    (0x38, "<Q", 1 << 33, "dump"),
    (0xC4, "<H", 9, "unknown kind"),
    (0xC6, "<B", 9, "impossible"),
    (0xC6, "<B", 1, "not the one"),
    (0x50, "<Q", 1 << 50, "nothing lies"),
    (0x58, "<Q", 12345, "nothing lies"),
    (0x48, "<Q", 3, "impossible|not the one"),
    (0x32B + 17 + 44, "<H", 60000, "damaged"),
    (0x32B + 17, "<Q", 1 << 62, "device|each other"),
    (0x32B + 17 + 24, "<Q", 2 | 1 << 3, "RAID0"),
    (0x32B + 17 + 24, "<Q", 2 | 1 << 7, "RAID5"),
]


@pytest.mark.parametrize(("place", "kind", "value", "why"), SUPERBLOCK)
def test_a_superblock_that_cannot_be(maker: Maker, disk: bytes, place: int, kind: str, value: int, why: str) -> None:
    data = bytearray(disk)
    struct.pack_into(kind, data, 65536 + place, value)
    if place != 0xC4:
        maker.sign(data)
    with pytest.raises(VolumeError, match=why):
        walked(bytes(data))


def test_a_wrong_checksum_of_the_superblock(disk: bytes) -> None:
    data = bytearray(disk)
    data[65536 + 0x12B] ^= 1
    with pytest.raises(VolumeError, match="superblock has a wrong checksum"):
        volume(bytes(data))


def test_a_tree_that_leads_back_to_its_top(tmp_path: Path) -> None:
    maker = everything(Maker(node=4096))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    inner = [place for place in maker.places.values() if data[place + 0x64]]
    top = max(inner, key=lambda place: data[place + 0x64])
    for place in inner:
        struct.pack_into("<Q", data, place + 101 + 17, top + SHIFT)
    maker.sign(data)
    with pytest.raises(VolumeError, match=r"not the one|other items"):
        walked(bytes(data))


@pytest.mark.parametrize("index", range(3))
def test_children_in_another_order_are_not_believed(tmp_path: Path, index: int) -> None:
    """Items that a look-up would miss must not count as absent."""
    maker = everything(Maker(node=4096))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    place = next(place for place in maker.places.values() if data[place + 0x64] == 1)
    one, other = (place + 101 + 33 * each + 17 for each in (index, index + 1))
    data[one : one + 8], data[other : other + 8] = data[other : other + 8], data[one : one + 8]
    maker.sign(data)
    with pytest.raises(VolumeError, match="other items"):
        walked(bytes(data))


def test_items_that_another_node_should_hold(tmp_path: Path) -> None:
    """A look-up would go to the next node for them."""
    maker = everything(Maker(node=4096))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    changed = 0
    for place in maker.places.values():
        count, level = struct.unpack_from("<IB", data, place + 0x60)
        (tree,) = struct.unpack_from("<Q", data, place + 0x58)
        if tree == 5 and not level and count > 1:
            struct.pack_into("<QBQ", data, place + 101 + 25 * (count - 1), LAST, 255, LAST)
            changed += 1
            break
    assert changed
    maker.sign(data)
    with pytest.raises(VolumeError, match="other items"):
        walked(bytes(data))


def test_a_node_that_lost_its_first_items(tmp_path: Path) -> None:
    maker = everything(Maker(node=4096))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    for place in maker.places.values():
        (tree,) = struct.unpack_from("<Q", data, place + 0x58)
        if tree == 5 and data[place + 0x64] == 1:
            (offset,) = struct.unpack_from("<Q", data, place + 101 + 33 + 9)
            struct.pack_into("<Q", data, place + 101 + 33 + 9, offset + 1)
    maker.sign(data)
    with pytest.raises(VolumeError, match="other items"):
        walked(bytes(data))


EXTENT = 108
ITEMS: list[tuple[str, str, int, str, int, str]] = [
    # a file of the top directory, its item, the field's place and form, the value, the reason
    ("text-zlib", "extent", 0, "<Q", 0, ""),
    ("text-zlib", "extent", 16, "<B", 9, "unknown way"),
    ("text-zlib", "extent", 17, "<B", 1, "encrypted"),
    ("text-zlib", "extent", 20, "<B", 3, "damaged extent"),
    ("text-zlib", "extent", 8, "<Q", 1 << 40, "impossible extent"),
    ("text-zlib", "extent", 21, "<Q", 1 << 50, "no checksum|nothing lies"),
    ("text-zlib", "extent", 29, "<Q", 1 << 40, "impossible extent"),
    ("text-zlib", "extent", 37, "<Q", 1 << 40, "impossible extent"),
    ("text-zlib", "extent", 45, "<Q", 1 << 62, "impossible extent"),
    ("text-zlib", "extent", 45, "<Q", 1 << 63, "impossible extent"),
    ("text-zlib", "extent", 45, "<Q", 0, "impossible extent"),
    ("text-zlib", "extent", 16, "<B", 3, "damaged"),
    ("text-lzo", "extent", 16, "<B", 1, "damaged"),
    ("part", "extent", 45, "<Q", 1 << 40, "impossible extent"),
    ("part", "extent", 21, "<Q", (1 << 28) + (37 << 20), "no checksum"),
    ("small-zlib", "extent", 8, "<Q", 1 << 40, "damaged extent"),
    ("small-zlib", "extent", 16, "<B", 0, "damaged extent"),
    ("part", "inode", 16, "<Q", 1 << 63, "damaged"),
    ("part", "inode", 40, "<I", 0, "not in use"),
    ("part", "inode", 52, "<I", 0o170644, "damaged"),
    ("part", "inode", 144, "<I", 2_000_000_000, "damaged"),
]


@pytest.mark.parametrize(("name", "item", "at", "kind", "value", "why"), ITEMS)
def test_an_item_that_cannot_be(
    maker: Maker, disk: bytes, name: str, item: str, at: int, kind: str, value: int, why: str
) -> None:
    opened = volume(disk)
    inode = opened.names(opened.root)[0][name] & LAST
    data = bytearray(disk)
    place, _ = leaf_item(maker, disk, (inode, 1 if item == "inode" else EXTENT, 0))
    struct.pack_into(kind, data, place + at, value)
    maker.sign(data)
    if not why:
        walked(bytes(data))
        return
    with pytest.raises(VolumeError, match=why):
        walked(bytes(data))


@pytest.mark.parametrize("name", [b"no/e", b"no\0e", b"NOTE", b"\0\0\0\0"])
def test_a_name_that_is_listed_and_cannot_be_looked_up(tmp_path: Path, name: bytes) -> None:
    maker = Maker()
    top = maker.subvolume()
    system(top)
    top.file(256, b"note", b"text")
    disk = maker.write(tmp_path / "disk").read_bytes()
    place, _ = leaf_item(maker, disk, (256, 96, 3))
    data = bytearray(disk)
    assert data[place + 30 : place + 34] == b"note"
    data[place + 30 : place + 34] = name
    maker.sign(data)
    with pytest.raises(VolumeError, match="directory 256 of tree 5 is damaged"):
        walked(bytes(data))


def test_a_name_that_is_found_and_not_listed(tmp_path: Path) -> None:
    """It would be hidden from every listing, and open for who knows it."""
    maker = Maker()
    top = maker.subvolume()
    system(top)
    top.file(256, b"note", b"text")
    del top.items[256, 96, 3]
    with pytest.raises(VolumeError, match="directory 256 of tree 5 is damaged"):
        walked(maker.write(tmp_path / "disk").read_bytes())


def test_a_directory_inside_itself_ends(tmp_path: Path) -> None:
    maker = Maker()
    top = maker.subvolume()
    system(top)
    inside = top.folder(256, b"inside")
    top.hard_link(inside, inside, b"again")
    path = maker.write(tmp_path / "disk")
    with open_image(path) as image, pytest.raises(Unreadable, match="more than one name"):
        list(image.walk("/"))


def test_subvolumes_inside_each_other_end(tmp_path: Path) -> None:
    maker = Maker()
    top, one, other = maker.subvolume(), maker.subvolume(256), maker.subvolume(257)
    system(top)
    top.nest(256, b"one", one)
    one.nest(256, b"other", other)
    other.nest(256, b"one", one)
    with open_image(maker.write(tmp_path / "disk")) as image, pytest.raises(Unreadable, match="more than one name"):
        list(image.walk("/"))


def test_a_subvolume_is_seen_only_where_it_belongs(tmp_path: Path) -> None:
    maker = Maker()
    top, home = maker.subvolume(), maker.subvolume(256)
    system(top)
    home.file(256, b"note", b"text")
    top.nest(256, b"home", home)
    top.stale(top.folder(256, b"other"), b"home", home)
    assert list(walked(maker.write(tmp_path / "disk").read_bytes())).count("/home/note") == 1
    with open_image(tmp_path / "disk") as image:
        assert image.listdir("/other/home") == []


def test_a_subvolume_that_is_its_own_parent_has_no_path(tmp_path: Path) -> None:
    maker = Maker()
    top, one, other = maker.subvolume(), maker.subvolume(256), maker.subvolume(257)
    system(top, b"LABEL=root /mnt btrfs subvolid=257 0 0\n")
    top.folder(256, b"mnt")
    one.nest(256, b"other", other)
    other.nest(256, b"one", one)
    with open_image(maker.write(tmp_path / "disk")) as image:
        assert image.tops()["/mnt"].path is None
        assert image.listdir("/mnt") == ["one"]


def test_extents_over_each_other(tmp_path: Path) -> None:
    maker = Maker()
    top = maker.subvolume()
    system(top)
    inode = top.file(256, b"file")
    top.extent(inode, 0, TEXT[:16384])
    top.extent(inode, 8192, TEXT[:16384])
    top.inodes[inode]["size"] = 24576
    with pytest.raises(VolumeError, match="over each other"):
        walked(maker.write(tmp_path / "disk").read_bytes())


def test_a_file_of_absurd_size_costs_nothing(tmp_path: Path) -> None:
    maker = Maker()
    top = maker.subvolume()
    system(top)
    inode = top.file(256, b"file", b"")
    top.extent(inode, 1 << 60, TEXT[:4096])
    top.inodes[inode]["size"] = (1 << 60) + 4096
    link = top.link(256, b"link", b"x")
    top.inodes[link]["size"] = 1 << 40
    opened = volume(maker.write(tmp_path / "disk").read_bytes())
    names = opened.names(opened.root)[0]
    assert opened.read(names["file"], 1 << 60, 1 << 20) == TEXT[:4096]
    assert opened.read(names["file"], 5, 100) == bytes(100)
    with pytest.raises(VolumeError, match="impossible"):
        opened.link(opened.entry(names["link"]))


@pytest.mark.parametrize("kind", CODECS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_compressed_data_is_bounded(kind: str, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=3000)) * data.draw(st.integers(1, 60))
    whole = bytearray(packed(kind, content[:LARGEST]).ljust(4096, b"\0"))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(unpacked(CODECS[kind], bytes(whole), 4096)) <= LARGEST
    except VolumeError as error:
        assert "damaged" in str(error)


def test_lengths_of_lzo_do_not_lie_across_sectors() -> None:
    """What is left of a sector is skipped when it is too short for one."""
    generator = random.Random(3)
    skipped = 0
    for _ in range(400):
        pieces = [generator.randbytes(generator.randrange(4097)).ljust(4096, b"x") for _ in range(8)]
        place = 4
        for piece in pieces:
            skipped += place % 4096 > 4092
            place += (-place) % 4096 if place % 4096 > 4092 else 0
            place += 4 + len(lzallright.LZOCompressor().compress(piece))
        content = b"".join(pieces)
        assert unpacked(CODECS["lzo"], packed("lzo", content), 4096) == content
    assert skipped


@pytest.mark.parametrize("kind", CODECS)
def test_what_unpacks_to_more_than_an_extent_is_refused(kind: str) -> None:
    with pytest.raises(VolumeError, match="damaged"):
        unpacked(CODECS[kind], packed(kind, bytes(1 << 20)), 4096)


@pytest.mark.parametrize("number", range(60))
def test_any_damage_that_is_signed_is_an_answer_or_a_reason(tmp_path: Path, number: int) -> None:
    """With every checksum right again: what a hostile image would be."""
    generator = random.Random(number)
    maker = few(Maker(node=4096))
    data = bytearray(maker.write(tmp_path / "disk").read_bytes())
    for _ in range(generator.choice([1, 2, 8])):
        place = generator.choice([*maker.places.values(), 65536])
        within = generator.randrange(32, 4096)
        if place != 65536 and generator.random() < 0.7:  # where the numbers are
            within = generator.randrange(0x30, 101 + 25 * 20)
        value = generator.choice([b"\0", b"\xff", b"\x01", generator.randbytes(1), generator.randbytes(8), b"\xff" * 8])
        data[place + within : place + within + len(value)] = value
    maker.sign(data)
    try:
        walked(bytes(data))
    except VolumeError as error:
        assert str(error)
