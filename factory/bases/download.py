"""Downloads a distribution's cloud image over https, and uses it only when it is what a pinned or signed checksum says.

A download that was cut off goes on where it stopped, in this run or a later one. The whole file is read and checked
before anything looks into it, and a file that does not match is removed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from factory import disk, http, image_format
from factory.cache import Cache
from factory.checksums import Checksum, choose, key_folder, parse, verified
from factory.copying import file_digest
from factory.errors import BaseError, HostError
from factory.files import touching

if TYPE_CHECKING:
    from factory.bases import Base, Definition
    from factory.console import Console, Stage

FORMAT = 1  # part of the cache key: raise it when the same definition gives another image
LARGEST = 16 * 1024**3  # bytes; no cloud image is near it
SMALL_FILE = 1 << 20  # bytes of a checksum file or signature at most
SPARE = 256 * 1024**2  # bytes that must be left on the disk afterwards
ABANDONED = 24 * 3600  # seconds after which a part of an older image is cleared away
ATTEMPTS = 5  # attempts in a row that brought nothing
PAUSE = 1.0  # seconds before the second of them; doubles with each


@dataclass(frozen=True)
class Source:
    """What is to be fetched: where from, what it must be, and who says so (``pinned`` or the signer's fingerprint)."""

    url: str
    checksum: Checksum
    vouched: str


def build(definition: Definition, destination: Path, *, work: Path, console: Console, **_: Any) -> dict[str, object]:
    """Download *definition*'s image into the qcow2 *destination*; returns the facts. Raises BaseError and HostError."""
    source = locate(definition, work)
    with console.stage("download") as stage, touching(work, "Keeping a download"):
        stage.note(f"{http.shown(source.url)}, {_short(source.vouched)}")
        image = _fetch(source, definition.name, console, stage)
    found = image_format.detect(image, shown=http.shown(source.url))
    if found.name == "qcow2":
        image.rename(destination)
    else:
        with console.stage("convert") as stage:
            stage.note(f"{found.name} to qcow2")
            disk.convert(image, found.name, destination, "qcow2", stage=stage)
        image.unlink()
    return {
        "url": http.shown(source.url),
        "checksum": str(source.checksum),
        "vouched": source.vouched,
        "format": found.name,
        "virtual_size": found.virtual_size,
    }


def unchanged(definition: Definition, base: Base, *, work: Path) -> bool:
    """Whether the server still offers the image that *base* was made from."""
    return str(locate(definition, work).checksum) == base.facts.get("checksum")


def locate(definition: Definition, work: Path) -> Source:
    """Where *definition*'s image is and what it must be; asks the server when that is a signed checksum file."""
    for algorithm, digest in (("sha512", definition.sha512), ("sha256", definition.sha256)):
        if digest:
            return Source(definition.url, Checksum(_file_name(definition.url), algorithm, digest), "pinned")
    if not definition.checksums or not definition.signature or not definition.fingerprint:
        raise BaseError(
            f"{definition.name} has neither a pinned nor a signed checksum",
            cause="An image that nobody vouches for is not used",
            hint="Give the entry sha256 or sha512, or checksums with signature and fingerprint",
            code="base.unverifiable",
        )
    content = http.fetch(definition.checksums, limit=SMALL_FILE, failure=BaseError)
    detached = None
    if definition.signature != "inline":
        detached = http.fetch(definition.signature, limit=SMALL_FILE, failure=BaseError)
    own = sorted(path for path in key_folder().glob("*") if path.suffix in (".asc", ".gpg", ".pgp"))
    shown = http.shown(definition.checksums)
    text = verified(
        content,
        detached,
        keyrings=[*own, *map(Path, definition.keyrings)],
        fingerprint=definition.fingerprint,
        package=definition.key_package,
        work=work,
        source=shown,
    )
    checksum = choose(parse(text), definition.image or _file_name(definition.url), source=shown)
    return Source(definition.url or urljoin(definition.checksums, checksum.name), checksum, definition.fingerprint)


def _fetch(source: Source, name: str, console: Console, stage: Stage) -> Path:
    """The verified image, in the cache's folder of downloads. What a failed run left there is used, or cleared away."""
    folder = Cache().folder("downloads")
    part = folder / f"{name}-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}.part"
    for old in folder.glob(f"{name}-{'[0-9a-f]' * 16}.*"):
        if old.stem != part.stem and time.time() - old.stat().st_mtime > ABANDONED:
            old.unlink(missing_ok=True)
    for _ in range(2):
        resumed = _transfer(source, part, console, stage)
        digest = file_digest(part, source.checksum.algorithm)
        if digest == source.checksum.digest:
            _state(part).unlink(missing_ok=True)
            return part
        part.unlink()
        _state(part).unlink(missing_ok=True)
        if not resumed:  # a resumed file may have been pieced together from two: worth one fresh attempt
            break
        console.warn(f"The resumed download of {name} does not match its checksum: it is fetched again from the start")
    raise BaseError(
        f"{http.shown(source.url)} is not what its checksum promises",
        cause=f"{source.checksum} was promised ({_short(source.vouched)}), {digest} arrived",
        hint="It was thrown away. Try again: a mirror may be taking in a new image, or a proxy may have changed it",
        code="base.checksum-mismatch",
    )


def _transfer(source: Source, part: Path, console: Console, stage: Stage) -> bool:
    """Fill *part* to its end; says whether it holds bytes of more than one connection."""
    resumed = False
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            resumed |= _receive(source.url, part, stage)
            return resumed
        except http.Interrupted as error:
            after = part.stat().st_size if part.exists() else 0
            fruitless = 0 if after > before else fruitless + 1
            if fruitless >= ATTEMPTS:
                raise BaseError(
                    f"{http.shown(source.url)} breaks off again and again at {after} bytes",
                    cause=str(error),
                    hint="Run it again: it goes on where it stopped",
                    code="base.download-interrupted",
                ) from error
            console.say(f"The download broke off at {after} bytes ({error}): going on from there")
            time.sleep(PAUSE * 2**fruitless)


def _receive(url: str, part: Path, stage: Stage) -> bool:
    """One connection's worth of *part*; says whether it was added to bytes that were there. Raises Interrupted."""
    have = part.stat().st_size if part.exists() else 0
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _recall(part):
            headers["If-Range"] = validator  # the server sends the whole file when it is another one by now
    with http.get(url, headers=headers, allowed=(200, 206, 416), failure=BaseError) as reply:
        if reply.status == 416 or (reply.status == 206 and _range_start(reply) != have):
            total = re.fullmatch(r"bytes \*/(\d+)", reply.headers.get("Content-Range", ""))
            if reply.status == 416 and total and int(total[1]) == have:
                return True  # it was complete already
            part.unlink()
            raise http.Interrupted("the server cannot continue it")
        if reply.status == 200:
            have = 0
        total_size = None if reply.length is None else have + reply.length
        _require_room(url, part, have, total_size)
        _remember(part, reply)
        with part.open("ab" if have else "wb") as file:
            done = have
            stage.progress(done, total_size)
            for block in reply.blocks():
                done += len(block)
                if done > LARGEST:
                    raise _too_large(url)
                file.write(block)
                stage.progress(done, total_size)
        return have > 0


def _range_start(reply: http.Reply) -> int:
    found = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _require_room(url: str, part: Path, have: int, total: int | None) -> None:
    if total is None:
        return
    if total > LARGEST:
        raise _too_large(url)
    free = shutil.disk_usage(part.parent).free
    if free < total - have + SPARE:
        raise HostError(
            f"there is no room for {http.shown(url)}",
            cause=f"{total - have} bytes are to come, and {free} are free in {part.parent}",
            hint="Free some space there, or set FACTORY_CACHE to a larger disk",
            code="host.disk-space",
        )


def _too_large(url: str) -> BaseError:
    return BaseError(
        f"{http.shown(url)} is larger than {LARGEST} bytes",
        hint="Check the address: no cloud image is so large",
        code="base.too-large",
    )


def _state(part: Path) -> Path:
    return part.with_suffix(".json")


def _remember(part: Path, reply: http.Reply) -> None:
    """Keep what tells this version of the file from a later one. A weak ETag does not promise the same bytes."""
    etag = reply.headers.get("ETag", "")
    validator = reply.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    _state(part).write_text(json.dumps({"validator": validator}))


def _recall(part: Path) -> str:
    try:
        return str(json.loads(_state(part).read_text())["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _short(vouched: str) -> str:
    return "pinned checksum" if vouched == "pinned" else f"checksum signed by {vouched[-16:]}"
