"""The fuzzer: hostile recipes, settings, manifests and image files by the thousand: ``python -m tests.fuzz``.

Each case comes from the seed and its number, so ``--first N --count 1`` repeats it. A case is bad when anything but
one of our own errors comes out, when it takes longer than ten seconds, when it opens or changes a file outside the
recipe's own places (an audit hook of the interpreter sees each one), or when what a recipe says changes more of the
build's seed than its own keys.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gzip
import io
import json
import os
import random
import signal
import sys
import sysconfig
import tarfile
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from factory import archive, image_format, manifest, seed, targets
from factory.cli.options import settings_of
from factory.errors import FactoryError
from factory.plan import make_plan
from factory.quoting import escape
from factory.recipe import copied, load_recipe
from tests.recipe_files import FILES, FULL, HEAD, write

HANG = 10  # seconds
SECRET = "the-neighbours-secret"
HOSTILE = [
    "../secret", "../../secret", "../../../../etc/passwd", "/etc/passwd", "/etc/shadow", "link-out",
    "link-folder/secret", "link-up", "link-loop", "fifo", "~/x", "~root", "$HOME", "$(touch PWNED)",
    "`touch PWNED`", "; touch PWNED", "| sh", "a\nb", "\u0000", "\u001b[2J", "\u202e", "{{ 7*7 }}",
    "{% for x in range(10**9) %}x{% endfor %}", "{{ ''.__class__ }}", "{{ login.private_openssh }}", "%(x)s",
    "${jndi}", "!!python/object/apply:os.system [touch PWNED]", "&a [*a,*a]", "*a", "<<: *a", "1e999999",
    "9" * 400, "0x" + "f" * 50, "-1", "nan", ".inf", "json:{}", "nbd://h/x", "file:///etc/passwd",
    "http://u:p@h/", "https://[::1", "https://h\r\nX: y", "debian-12@sha256:" + "0" * 64,
    "debian-12@sha256:../..", "..", ".", "a" * 5000, "ünï 🐧", "-o", "--allow-unauthenticated",
    "-oProxyCommand=touch PWNED", "nginx=1;touch PWNED", "\ud800",
]  # fmt: skip
KEYS = [
    "schema", "name", "version", "base", "disk", "machine", "variables", "repositories", "upgrade", "cloud_init",
    "provision", "test", "checks", "targets", "requirements", "properties", "packages", "copy", "shell", "source",
    "destination", "script", "template", "mode", "owner", "key", "uri", "users", "write_files", "runcmd", "bootcmd",
    "ssh_authorized_keys", "disable_root", "<<", "__class__", "\x1b",
]  # fmt: skip
MAGIC = [b"QFI\xfb", b"KDMV", b"conectix", b"vhdxfile", b"\x1f\x8b", b"<<< Oracle VM", b"PK\3\4", b"ustar", b""]
OURS = ("ssh_authorized_keys", "ssh_keys", "disable_root", "ssh_deletekeys", "preserve_hostname", "growpart")


class Hang(Exception):
    """A case takes too long."""


class Place:
    """A recipe folder with traps in it and beside it, and the hook that sees what is opened."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        (folder / "secret").write_text(SECRET)
        write(self.root, "", FILES)
        own = self.root / "recipes" / "web"
        for name, to in (("link-out", folder / "secret"), ("link-up", ".."), ("link-loop", "link-loop")):
            (own / name).symlink_to(to)
        (own / "link-folder").symlink_to(folder)
        os.mkfifo(own / "fifo")
        self.seen: list[str] = []
        self.watching = False
        code = (
            TOP,
            sys.prefix,
            sys.base_prefix,
            sysconfig.get_path("stdlib"),
            "/usr/lib",
            "/usr/share/zoneinfo",
            "/proc",
        )
        self._allowed = tuple(str(Path(place).resolve()) for place in (self.root, *code))
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event in ACTS:
            self.seen.append(f"{event} {arguments}")
        if not self.watching or event not in PATHS:
            return
        self.watching = False  # what is asked here is not what the case does
        try:
            for path in arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]:
                if isinstance(path, str | bytes):
                    real = os.path.realpath(os.fsdecode(path))
                    if not real.startswith(self._allowed) and real not in HARMLESS:
                        self.seen.append(f"{event} {real}")
        finally:
            self.watching = True

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        self.seen.clear()
        self.watching = True
        try:
            yield
        finally:
            self.watching = False


TOP = Path(__file__).parents[1]
PATHS = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod"}
ACTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo"}
HARMLESS = {"/dev/null", "/dev/urandom", "/etc/localtime", "/etc/mime.types"}


def a_text(chance: random.Random) -> str:
    """A recipe that was right, and now has hostile words in it."""
    text = HEAD + FULL
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text))
        text = text[:start] + chance.choice(HOSTILE) + text[start + chance.randint(0, 15) :]
    return text


def a_tree(chance: random.Random) -> str:
    """A recipe with values of others in its places."""
    tree = yaml.load(HEAD + FULL, Loader=yaml.BaseLoader)
    for _ in range(chance.randint(1, 3)):
        node: Any = tree
        while True:
            key = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if not isinstance(node[key], dict | list) or not node[key] or chance.random() < 0.2:
                break
            node = node[key]
        node[key] = _value(chance, 3)
        if isinstance(node, dict) and chance.random() < 0.3:
            node[chance.choice(KEYS)] = _value(chance, 2)
    return yaml.safe_dump(tree, allow_unicode=True)


def a_path(chance: random.Random) -> str:
    """A recipe that is right but for the paths and names in it."""
    hostile = json.dumps(chance.choice(HOSTILE))
    return HEAD + chance.choice(
        [
            f"provision: [{{copy: {{source: {hostile}, destination: /x}}}}]\n",
            f"provision: [{{copy: {{source: index.html, destination: {hostile}}}}}]\n",
            f"provision: [{{copy: {{source: index.html, destination: /x, owner: {hostile}, template: true}}}}]\n",
            f"provision: [{{shell: {{script: {hostile}}}}}]\n",
            f"provision: [{{shell: {{run: a, directory: {hostile}, environment: {{A: {hostile}}}}}}}]\n",
            f"provision: [{{packages: [{hostile}]}}]\n",
            f"repositories: [{{uri: {hostile}, suite: a, components: [{hostile}], key: {hostile}}}]\n",
            f"cloud_init: {{timezone: {hostile}, runcmd: [{hostile}], write_files: [{{path: {hostile}}}]}}\n",
            f"cloud_init: {{{hostile}: {hostile}, users: [{{name: {hostile}}}]}}\n",
            f"targets: [{hostile}]\n",
            f"properties: {{{hostile}: {hostile}}}\ndescription: {hostile}\n",
        ]
    ).replace("name: web", chance.choice(["name: web", f"name: {hostile}", f"version: {hostile}"]))


def some_bytes(chance: random.Random) -> str:
    """No recipe at all."""
    return chance.randbytes(chance.randint(0, 400)).decode("latin-1")


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth and kind < 0.2:
        return [_value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    if depth and kind < 0.4:
        return {chance.choice(KEYS): _value(chance, depth - 1) for _ in range(chance.randint(0, 3))}
    if kind < 0.8:
        return chance.choice(HOSTILE).replace("\ud800", "?")
    return chance.choice([None, True, 0, -1, 10**30, 1.5, "", "4GiB", "0644", "debian-12", "on"])


KINDS: dict[str, Callable[[random.Random], str]] = {"text": a_text, "tree": a_tree, "path": a_path, "bytes": some_bytes}


def one(number: int, base_seed: str, place: Place) -> str:
    """Run case *number*; its outcome in a word. Raises what should not have come out."""
    chance = random.Random(f"{base_seed}:{number}")
    kind = chance.choices([*KINDS, "manifest", "target", "image", "archive"], [4, 5, 6, 1, 2, 1, 1, 2])[0]
    with place.watched():
        try:
            if kind == "manifest":
                return f"manifest {_manifest(chance, place)}"
            if kind == "target":
                targets.load(chance.choice(HOSTILE))
                return "target ok"
            if kind == "archive":
                return f"archive {_archive(chance, place)}"
            if kind == "image":
                return f"image {_image(chance, place)}"
            content = KINDS[kind](chance).encode("utf-8", "surrogatepass")
            (place.root / "recipes" / "web.yaml").write_bytes(content)
            _use(chance, place, b"token:" in content)
        except FactoryError as error:
            said = str(error) + "".join(map(str, getattr(error, "faults", ())))
            if SECRET in said:
                raise AssertionError("the error tells what is in a file outside the recipe's folder") from error
            if escape(said) != said:
                raise AssertionError(f"the error is not fit for a terminal: {said!r}") from error
            return f"{kind} refused"
        finally:
            place.watching = False
            if place.seen:
                raise AssertionError(f"outside its places: {place.seen}")
    return f"{kind} ok"


def _use(chance: random.Random, place: Place, wants_token: bool) -> None:
    """Everything that happens with a recipe on this host."""
    words = [f"token={chance.choice(['x', *HOSTILE])}"] if wants_token else []
    if chance.random() < 0.1:
        words.append(chance.choice(["nope=1", "=", "x", *HOSTILE]))
    given = settings_of(words)
    recipe = load_recipe("web", settings=given, root=place.root)
    make_plan(str(recipe.file), settings=given)
    for step in recipe.provision:
        if step.kind == "copy":
            for piece in copied(recipe, step):  # type: ignore[arg-type]
                if not piece.folder and SECRET.encode() in piece.content(recipe.values):
                    raise AssertionError("a copy takes a file from outside the recipe's folder")
    login, host_key = KEYS_OF_ALL
    plain = seed.build_seed(hostname="h", instance_id="i", login=login, host_key=host_key)
    made = seed.build_seed(hostname="h", instance_id="i", login=login, host_key=host_key, extra=recipe.cloud_init)
    before, after = yaml.safe_load(plain.user_data), yaml.safe_load(made.user_data)
    if {key: after.get(key) for key in OURS} != {key: before.get(key) for key in OURS}:
        raise AssertionError("cloud_init of the recipe changes the keys of the build")
    if set(after) - set(before) - set(recipe.cloud_init):
        raise AssertionError(f"cloud_init brings keys that it does not have: {sorted(after)}")


def _manifest(chance: random.Random, place: Place) -> str:
    document: Any = {
        "schema": 1,
        "factory": "1",
        "build_id": "x",
        "image": {"file": chance.choice(HOSTILE)},
        "stages": [],
    }
    for _ in range(chance.randint(0, 4)):
        document[chance.choice([*KEYS, *document])] = _value(chance, 3)
    text = json.dumps(document)
    if chance.random() < 0.3:
        cut = chance.randrange(len(text))
        text = text[:cut] + chance.choice(["", "[" * 5000, "\\ud800", "9" * 5000]) + text[cut + 1 :]
    path = place.root / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    reader: Callable[[Path], object] = chance.choice([manifest.read_manifest, manifest.read_findings])
    reader(path)
    return "ok"


def _image(chance: random.Random, place: Place) -> str:
    magic = chance.choice(
        [b"QFI\xfb", b"KDMV", b"conectix", b"vhdxfile", b"\x1f\x8b", b"<<< Oracle VM", b"PK\3\4", b"ustar", b""]
    )
    data = bytearray(magic + chance.randbytes(chance.randint(0, 3000)))
    if magic == b"QFI\xfb" and len(data) > 104:
        data[4:8] = chance.choice([2, 3, 9]).to_bytes(4, "big")
        data[8:20] = chance.choice([bytes(12), (64).to_bytes(8, "big") + (20).to_bytes(4, "big"), bytes([255] * 12)])
    path = place.root / "image"
    path.write_bytes(bytes(data))
    image_format.detect(path)
    return "ok"


def _archive(chance: random.Random, place: Place) -> str:
    """A tar as a cloud's image comes in, with members that want to be elsewhere."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for _ in range(chance.randint(1, 5)):
            member = tarfile.TarInfo(chance.choice(["disk.raw", "output.qcow2", archive.METADATA, *HOSTILE]))
            member.type = chance.choice([tarfile.REGTYPE] * 4 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
            member.linkname = chance.choice(HOSTILE)
            data = chance.choice([b"", b"x" * 100, bytes(100_000), json.dumps({"a": HOSTILE[0]}).encode()])
            member.size = len(data) if member.isfile() else 0
            with contextlib.suppress(ValueError, UnicodeError):  # tarfile itself cannot write it
                tar.addfile(member, io.BytesIO(data) if member.isfile() else None)
    content = bytearray(packed.getvalue() if chance.random() < 0.5 else gzip.compress(packed.getvalue(), mtime=0))
    for _ in range(chance.choice([0, 0, 1, 20])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path = place.root / chance.choice(["x.oci", "x.tar.gz", "x.ova"])
    path.write_bytes(bytes(content)[: chance.choice([len(content), len(content) // 2])])
    with tempfile.TemporaryDirectory(dir=place.root) as folder:
        found = archive.look_inside(path, Path(folder) if chance.random() < 0.7 else None)
        outside = [name for name in found.names if name.startswith("/") or ".." in name.split("/")]
        if outside and not found.faults:
            raise AssertionError(f"{outside} is no fault")
        if set(os.listdir(folder)) - {"disk.raw", "disk.qcow2"}:
            raise AssertionError(f"it wrote {os.listdir(folder)}")
    return "refused" if found.faults else "ok"


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise Hang(f"longer than {HANG} s")


def fuzz(count: int, first: int, base_seed: str, folder: Path) -> tuple[collections.Counter[str], list[str]]:
    """Run the cases; how many had which outcome, and what was wrong."""
    global KEYS_OF_ALL
    KEYS_OF_ALL = seed.new_keypair("a"), seed.new_keypair("b")
    place = Place(folder)
    outcomes: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    before = signal.signal(signal.SIGALRM, _alarm)
    here = Path.cwd()
    os.chdir(place.root)
    for number in range(-40, 0):  # modules load on their first use, and are not what is looked at
        with contextlib.suppress(Exception):
            signal.alarm(HANG)
            one(number, base_seed, place)
    signal.alarm(0)
    try:
        for number in range(first, first + count):
            signal.alarm(HANG)
            try:
                outcomes[one(number, base_seed, place)] += 1
            except Exception:
                outcomes["WRONG"] += 1
                wrong.append(f"case {number} of seed {base_seed}: {traceback.format_exc()}")
            finally:
                signal.alarm(0)
    finally:
        os.chdir(here)
        signal.signal(signal.SIGALRM, before)
    if any(folder.rglob("PWNED")):
        wrong.append("a command in a recipe was run on this host")
    return outcomes, wrong


KEYS_OF_ALL: tuple[seed.KeyPair, seed.KeyPair]


def main(arguments: list[str] | None = None) -> int:
    """0 when no case was bad."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", default="1")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"FACTORY_STATE": f"{folder}/root/state", "FACTORY_CACHE": f"{folder}/root/cache"}
        outcomes, wrong = fuzz(chosen.count, chosen.first, chosen.seed, Path(folder))
    sys.stdout.write("\n".join([*wrong[:20], *(f"{name}: {n}" for name, n in sorted(outcomes.items()))]) + "\n")
    sys.stdout.write(f"{chosen.count} cases of seed {chosen.seed}, {len(wrong)} bad\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
