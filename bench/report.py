"""Writes ``bench/results.json`` as a table and a chart into ``docs/performance.md``: ``python -m bench.report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
START, END = "<!-- results -->\n", "<!-- end of results -->\n"
WIDTH = 50  # characters of the longest bar


def table(data: dict[str, Any]) -> str:
    """The variants with their seconds (the reboot apart), ratio, memory and image."""
    rows = [
        "| variant | seconds: min, median, max | of them the reboot | to Packer | peak memory | image |",
        "|---|---|---|---|---|---|",
    ]
    for name, facts in data["variants"].items():
        seconds = ", ".join(f"{facts['wall'][which]:.1f}" for which in ("min", "median", "max"))
        reboot, size = facts["reboot"]["median"], facts["size"]["median"]
        cells = [
            f"`{name}`",
            seconds,
            f"{reboot:.0f}" if reboot else "",
            f"{data['ratios_to_packer'].get(name, '')}",
            f"{facts['memory']['max'] / 2**20:.0f} MiB",
            f"{size / 1e6:.0f} MB" if size else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def chart(data: dict[str, Any]) -> str:
    """A bar for each variant: its median without the reboot."""
    seconds = {name: facts["wall"]["median"] - facts["reboot"]["median"] for name, facts in data["variants"].items()}
    longest = max(seconds.values())
    width = max(map(len, seconds))
    return "\n".join(
        f"{name:{width}}  {'█' * max(1, round(value / longest * WIDTH)):{WIDTH}}  {value:6.1f} s"
        for name, value in seconds.items()
    )


def write(page: Path = PAGE, results: Path = HERE / "results.json") -> None:
    """Put the results between the marks of *page*; nothing else in it is changed."""
    data = json.loads(results.read_text())
    rounds = f"{data['rounds']} round{'' if data['rounds'] == 1 else 's'}"
    absent = "".join(f"\n{name}: {why}.\n" for name, why in data["absent"].items())
    text = f"{rounds}, {data['accelerator'].upper()}.\n{absent}\n{table(data)}\n\n```text\n{chart(data)}\n```\n"
    before, rest = page.read_text().split(START)
    page.write_text(before + START + text + END + rest.split(END)[1])


if __name__ == "__main__":
    write()
