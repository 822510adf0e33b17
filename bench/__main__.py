"""``make bench``: the variants in turn, round by round; ``bench/results.json`` is written after every round.

Quote ratios of one run: a machine's speed drifts, and all variants of a round meet the same machine. A full boot test
reboots one guest; that is timed apart, and not in the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench import guestfs, packer, report
from bench.measure import Cost
from bench.variants import VARIANTS
from factory.errors import FactoryError
from factory.hypervisor import accelerator

HERE = Path(__file__).parent


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
    if not guestfs.available():
        absent |= dict.fromkeys(("libguestfs", "inspector"), "not installed (Debian: apt-get install guestfs-tools)")
    absent = {name: why for name, why in absent.items() if name in chosen}
    costs: dict[str, list[Cost]] = {name: [] for name in chosen if name not in absent}
    for number in range(1, options.rounds + 1):
        for name in [each for each in costs if each not in absent]:
            _say(f"round {number}: {name} ...")
            try:
                with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:  # noqa: S108
                    cost = VARIANTS[name](Path(folder))
            except (RuntimeError, FactoryError) as error:
                _say(f"round {number}: {name} failed: {error}")
                absent[name] = f"failed in round {number}: {str(error).splitlines()[-1]}"
                continue
            costs[name].append(cost)
            _say(f"round {number}: {name} {cost.wall:.2f} s, {cost.memory / 2**20:.0f} MiB, {cost.size / 1e6:.0f} MB")
        _write(costs, absent)
    _table(costs, absent)
    if {"packer", "cold", "warm"} <= {name for name, each in costs.items() if each}:
        report.write()


def _write(costs: dict[str, list[Cost]], absent: dict[str, str]) -> None:
    medians = {
        name: statistics.median(cost.wall - cost.reboot for cost in each) for name, each in costs.items() if each
    }
    data: dict[str, object] = {
        "rounds": min((len(each) for each in costs.values() if each), default=0),
        "accelerator": accelerator.choose().name,
        "variants": {
            name: {
                field: {
                    "min": min(getattr(cost, field) for cost in each),
                    "median": statistics.median(getattr(cost, field) for cost in each),
                    "max": max(getattr(cost, field) for cost in each),
                }
                for field in ("wall", "reboot", "cpu", "memory", "size")
            }
            for name, each in costs.items()
            if each
        },
        "absent": absent,
        "ratios_to_packer": {name: round(wall / medians["packer"], 3) for name, wall in medians.items()}
        if "packer" in medians
        else {},
    }
    if "four_in_turn" in medians and "four_at_once" in medians:
        data["four_at_once_to_four_in_turn"] = round(medians["four_at_once"] / medians["four_in_turn"], 3)
    if "check" in medians and "inspector" in medians:
        data["check_to_inspector"] = round(medians["check"] / medians["inspector"], 3)
    (HERE / "results.json").write_text(json.dumps(data, indent=2) + "\n")


def _table(costs: dict[str, list[Cost]], absent: dict[str, str]) -> None:
    _say(f"{'variant':18} {'min':>8} {'median':>8} {'max':>8}  {'memory':>8}  {'image':>8}")
    for name, each in ((name, each) for name, each in costs.items() if each):
        walls = [cost.wall for cost in each]
        memory, size = max(cost.memory for cost in each) / 2**20, max(cost.size for cost in each) / 1e6
        times = f"{min(walls):8.2f} {statistics.median(walls):8.2f} {max(walls):8.2f}"
        _say(f"{name:18} {times}  {memory:5.0f} MiB  {size:5.0f} MB")
    for name, why in absent.items():
        _say(f"{name:18} {why}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


main()
