"""``make bench``: the variants in turn, round by round; ``bench/results.json`` is written after every round.

Quote ratios of one run: a machine's speed drifts, and all variants of a round meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import packer
from bench.measure import Cost, run
from factory import bases, cache, mirror
from factory.console import Console
from factory.hypervisor import accelerator

HERE = Path(__file__).parent
FACTORY = [sys.executable, "-m", "factory"]
QUICK = 10  # times that a variant of a second or less is run in a round; the median counts


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
    """A cold build of nginx, the base cached, with the full boot test and its reboot."""
    return _build(work, "full")


def untested(work: Path) -> Cost:
    """The same without any boot test: what the peer does, and the scrub and its proof."""
    return _build(work, "none")


def _build(work: Path, mode: str) -> Cost:
    argv = [*FACTORY, "build", "nginx", "--boot-test", mode, "--output", str(work / "out")]
    cost = run(argv, log=work / "log")
    image = next((work / "out/nginx/latest").resolve().glob("*.qcow2"))
    return replace(cost, size=image.stat().st_size)


def peer(work: Path) -> Cost:
    """Packer's qemu builder, same base and package, no scrub and no test."""
    chosen = accelerator.choose()
    definition = bases.resolve("debian-12")
    found = bases.obtain(definition, console=Console.quiet(), accelerator=chosen, connect="qemu:///embed")
    source = mirror.debian_mirror(definition.suite)
    uris = mirror.guest_uri(source.uri), mirror.guest_uri(source.security_uri)
    lines = "\n".join(mirror.source_lines(definition.suite, *uris)) + "\n"
    with cache.Cache().hold(found.entry):
        return packer.build(found.path, found.sha256, "nginx", lines, work, chosen.name)


VARIANTS: dict[str, Callable[[Path], Cost]] = {
    "help": help_,
    "validate": validate,
    "packer": peer,
    "cold": cold,
    "untested": untested,
    "base": base,
}


def main() -> None:
    """Run the rounds and show the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of variants, with commas")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(VARIANTS)
    if unknown := [name for name in chosen if name not in VARIANTS]:
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    absent = {} if packer.available() else {"packer": "not installed (Debian: apt-get install packer)"}
    costs: dict[str, list[Cost]] = {name: [] for name in chosen if name not in absent}
    for number in range(1, options.rounds + 1):
        for name in costs:
            with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: S108
                _say(f"round {number}: {name} ...")
                cost = VARIANTS[name](Path(folder))
                shutil.rmtree(folder, ignore_errors=True)
                Path(folder).mkdir()
            costs[name].append(cost)
            _say(f"round {number}: {name} {cost.wall:.2f} s, {cost.memory / 2**20:.0f} MiB, {cost.size / 1e6:.0f} MB")
        _write(costs, absent)
    _table(costs, absent)


def _write(costs: dict[str, list[Cost]], absent: dict[str, str]) -> None:
    medians = {name: statistics.median(cost.wall for cost in each) for name, each in costs.items() if each}
    data = {
        "rounds": min((len(each) for each in costs.values()), default=0),
        "accelerator": accelerator.choose().name,
        "variants": {
            name: {
                field: {
                    "min": min(getattr(cost, field) for cost in each),
                    "median": statistics.median(getattr(cost, field) for cost in each),
                    "max": max(getattr(cost, field) for cost in each),
                }
                for field in ("wall", "cpu", "memory", "size")
            }
            for name, each in costs.items()
            if each
        },
        "absent": absent,
        "ratios_to_packer": {name: round(wall / medians["packer"], 3) for name, wall in medians.items()}
        if "packer" in medians
        else {},
    }
    (HERE / "results.json").write_text(json.dumps(data, indent=2) + "\n")


def _table(costs: dict[str, list[Cost]], absent: dict[str, str]) -> None:
    _say(f"{'variant':10} {'min':>8} {'median':>8} {'max':>8}  {'memory':>8}  {'image':>8}")
    for name, each in costs.items():
        walls = [cost.wall for cost in each]
        memory, size = max(cost.memory for cost in each) / 2**20, max(cost.size for cost in each) / 1e6
        times = f"{min(walls):8.2f} {statistics.median(walls):8.2f} {max(walls):8.2f}"
        _say(f"{name:10} {times}  {memory:5.0f} MiB  {size:5.0f} MB")
    for name, why in absent.items():
        _say(f"{name:10} {why}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


main()
