"""What is measured: each variant builds, or does what it does, once, in an empty folder, and tells what that cost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import guestfs, packer, upload
from bench.measure import Cost, run
from factory import bases, cache, mirror
from factory.console import Console
from factory.hypervisor import accelerator
from tests.object_store import running

FACTORY = [sys.executable, "-m", "factory"]
RECIPES = Path(__file__).parents[1] / "recipes"
QUICK = 10  # times that a variant of a second or less is run in a round; the median counts
LAST, FIRST = "      systemctl enable nginx\n", "  - packages: [nginx]\n"


def _quick(argv: list[str], work: Path) -> Cost:
    costs = sorted((run(argv, log=work / "quick.log") for _ in range(QUICK)), key=lambda cost: cost.wall)
    return costs[QUICK // 2]


def help_(work: Path) -> Cost:
    """``factory --help``."""
    return _quick([*FACTORY, "--help"], work)


def validate(work: Path) -> Cost:
    """``factory validate nginx``."""
    return _quick([*FACTORY, "validate", "nginx"], work)


def base(work: Path) -> Cost:
    """The base debian-12 from nothing."""
    cost = run(
        [*FACTORY, "bases", "build", "debian-12"], log=work / "log", environment={"FACTORY_CACHE": str(work / "c")}
    )
    size = next((work / "c").rglob("*.qcow2"), None)
    return replace(cost, size=size.stat().st_size if size else 0)


def cold(work: Path) -> Cost:
    """A cold build of nginx, the base cached, with the full boot test."""
    return _build(work, "nginx", "full", "--cold")


def warm(work: Path) -> Cost:
    """The same from the saved guest of the booted base; every step runs."""
    _prime(work)
    return _build(work, "nginx", "full", "--no-cache")


def published(work: Path) -> Cost:
    """A cold build that is published to an object store on this host while it is tested."""
    with running(work / "store") as store:
        cost = _build(work, "nginx", "full", "--cold", "--publish", "--target", "generic", environment=store.settings())
        held = store.keys()
        if not any(key.endswith(".qcow2") for key in held):
            raise RuntimeError(f"the store holds {held}")
    return cost


def untested(work: Path) -> Cost:
    """A cold build without any boot test: what the peer does, and the scrub and its proof."""
    return _build(work, "nginx", "none", "--cold")


def last_step_edited(work: Path) -> Cost:
    """nginx once more, after an edit of its last step; quick boot test."""
    _prime(work)
    return _build(work, _edited(work, LAST, f"      # {time.time()}\n{LAST}"), "quick")


def first_step_edited(work: Path) -> Cost:
    """nginx once more, after an edit of its first step: another package; quick boot test."""
    _prime(work)
    return _build(work, _edited(work, FIRST, FIRST.replace("nginx]", "nginx, htop]")), "quick", "--from", "1")


def unchanged(work: Path) -> Cost:
    """nginx once more, with nothing changed."""
    _prime(work)
    return _build(work, "nginx", "none", times=QUICK)


def four_in_turn(work: Path) -> Cost:
    """Four recipes one after the other, from the saved guest; quick boot test."""
    return _four(work, 1)


def four_at_once(work: Path) -> Cost:
    """The same four with ``--jobs 2``."""
    return _four(work, 2)


def _prime(work: Path) -> None:
    """See that the layers of nginx are there; not measured."""
    _build(work, "nginx", "none")


def _edited(work: Path, old: str, new: str) -> Path:
    text = (RECIPES / "nginx.yaml").read_text()
    if text.count(old) != 1:
        raise RuntimeError(f"recipes/nginx.yaml does not have {old!r} once")
    recipe = work / "recipes" / "nginx.yaml"
    recipe.parent.mkdir()
    recipe.write_text(text.replace(old, new))
    recipe.with_suffix("").symlink_to(RECIPES / "nginx")
    return recipe


def _four(work: Path, jobs: int) -> Cost:
    _prime(work)
    names = []
    for number in range(4):
        recipe = work / f"four-{number}.yaml"
        recipe.write_text(
            f"schema: 1\nname: four-{number}\nversion: 1.0.0\nbase: debian-12\ndisk: 4GiB\nprovision:\n"
            f"  - packages: [htop]\n  - shell: echo {time.time()} > /etc/four\n"
        )
        names.append(str(recipe))
    argv = [*FACTORY, "build", *names, "--jobs", str(jobs), "--no-cache", "--boot-test", "quick"]
    return run([*argv, "--output", str(work / "out")], log=work / "log")


def _build(
    work: Path,
    recipe: str | Path,
    mode: str,
    *options: str,
    times: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """The median of several builds, of which the second and all after it find nothing to do."""
    argv = [*FACTORY, "build", str(recipe), "--boot-test", mode, "--output", str(work / "out"), "--keep", "never"]
    argv += options
    runs = [run(argv, log=work / "log", environment=environment) for _ in range(times)]
    costs = sorted(runs, key=lambda cost: cost.wall)
    folder = (work / "out/nginx/latest").resolve()
    document = json.loads((folder / "manifest.json").read_text())
    reboot = sum(boot["reboot_seconds"] or 0 for boot in document["boots"])
    return replace(costs[times // 2], size=document["image"]["size"], reboot=reboot)


def check(work: Path) -> Cost:
    """``factory check`` of the finished nginx image, all rules."""
    return _quick([*FACTORY, "check", str(_image(work)), "--target", "mgc"], work)


def inspector(work: Path) -> Cost:
    """virt-inspector on the same image."""
    return guestfs.inspect(_image(work), work, accelerator.choose().name)


def _image(work: Path) -> Path:
    _prime(work)
    (image,) = (work / "out/nginx/latest").resolve().glob("*.qcow2")
    return image


def peer(work: Path) -> Cost:
    """Packer's qemu builder, same base and package, no scrub and no test."""
    with _base() as found:
        return packer.build(found.path, found.sha256, "nginx", _sources(), work, accelerator.choose().name)


def libguestfs(work: Path) -> Cost:
    """virt-customize, virt-sysprep and virt-sparsify --compress, same base and package, no test."""
    with _base() as found:
        return guestfs.build(found.path, "nginx", _sources(), work, accelerator.choose().name)


@contextmanager
def _base() -> Iterator[bases.Base]:
    definition = bases.resolve("debian-12")
    found = bases.obtain(definition, console=Console.quiet(), accelerator=accelerator.choose(), connect="qemu:///embed")
    with cache.Cache().hold(found.entry):
        yield found


def _sources() -> str:
    suite = bases.resolve("debian-12").suite
    source = mirror.debian_mirror(suite)
    uris = mirror.guest_uri(source.uri), mirror.guest_uri(source.security_uri)
    return "\n".join(mirror.source_lines(suite, *uris)) + "\n"


VARIANTS: dict[str, Callable[[Path], Cost]] = {
    "help": help_,
    "validate": validate,
    "packer": peer,
    "libguestfs": libguestfs,
    "cold": cold,
    "warm": warm,
    "last_step_edited": last_step_edited,
    "first_step_edited": first_step_edited,
    "unchanged": unchanged,
    "untested": untested,
    "published": published,
    "four_in_turn": four_in_turn,
    "four_at_once": four_at_once,
    "base": base,
    "check": check,
    "inspector": inspector,
    "upload": upload.ours,
    "rclone": upload.rclone,
}
