"""How times, sizes, errors, tables and charts look as plain text. Pure functions, widths in terminal cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from factory.errors import sentence

if TYPE_CHECKING:
    from factory.console.stage import StageRecord

GAP = 2  # cells between two columns of a table
NARROWEST = 14  # cells that a column of a table has at least when it is made narrower
OUTPUT_LINES = 20  # lines of a program's output below an error


def seconds_text(seconds: float) -> str:
    """``15.9 s``, ``3 min 24 s``, ``1 h 02 min``."""
    if seconds < 120:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size_text(size: float) -> str:
    """*size* in bytes as ``512 B``, ``1.4 KiB``, ``276.4 MiB``."""
    if abs(size) < 1024:
        return f"{int(size)} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if abs(size) < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def amount_text(amount: float, unit: str) -> str:
    """An amount of progress: bytes as a size, anything else as a count with its unit."""
    return size_text(amount) if unit == "bytes" else f"{amount:.0f} {unit}".strip()


def progress_parts(done: int, total: int | None, unit: str, rate: float | None) -> list[str]:
    """``45 %``, ``210.0 of 466.0 MiB``, ``21.3 MiB/s``, ``12 s left``: what is known of them, in this order.

    *rate* is in units a second, None while it is not known.
    """
    parts = []
    amount = amount_text(done, unit)
    if total:
        parts.append(f"{percent(done, total)} %")
        whole = amount_text(total, unit)
        if done < total:
            number, _, its_unit = amount.partition(" ")
            amount = f"{number if whole.endswith(f' {its_unit}') else amount} of {whole}"
    parts.append(amount)
    if rate:
        parts.append(f"{amount_text(rate, unit)}/s")
        if total and done < total:
            left = (total - done) / rate
            parts.append(f"{left:.0f} s left" if left < 120 else f"{seconds_text(left)} left")
    return parts


def percent(done: int, total: int) -> int:
    """0 to 100, also when more was done than was said there would be."""
    return max(0, min(100, done * 100 // total)) if total else 0


def bar(fraction: float, width: int, *, ascii_only: bool) -> str:
    """A bar of *width* cells, filled to *fraction* (0 to 1)."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    full, empty = ("#", ".") if ascii_only else ("━", "╌")
    return full * filled + empty * (width - filled)


def cells(text: str) -> int:
    """How many terminal cells *text* takes: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def fit(text: str, width: int, *, ascii_only: bool = False) -> str:
    """*text*, cut to at most *width* cells with a mark that something is missing."""
    if cells(text) <= width:
        return text
    mark = "~" if ascii_only else "…"
    while text and cells(text) > width - 1:
        # Far too long texts are cut coarsely first.
        text = text[: max(width, 0)] if len(text) > 2 * width + 2 else text[:-1]
    return text + mark if width > 0 else ""


def pad(text: str, width: int) -> str:
    """*text* filled up with spaces to *width* cells."""
    return text + " " * (width - cells(text))


def error_text(error: Mapping[str, Any]) -> tuple[list[str], str]:
    """The faults of an error, each on a line of its own, and its paragraph: ``what. cause. hint. [code]``.

    A command that mends it follows on lines of its own, with nothing glued to it, so that it can be copied. *error*
    is what :meth:`factory.errors.FactoryError.as_dict` gives.
    """
    faults = []
    for fault in error.get("faults", ()):
        where = f"{fault['file']}:{fault['line']}:" if fault["line"] else f"{fault['file']}:"
        path = f"{fault['path']}: " if fault["path"] else ""
        suggestion = f" ({fault['suggestion']})" if fault["suggestion"] else ""
        faults.append(f"{where} {path}{fault['message']}{suggestion}")
    parts = [sentence(str(error[part])) for part in ("message", "cause", "hint") if error[part]]
    command = [f"    {line}" for line in str(error.get("command", "")).split("\n") if line.strip()]
    return faults, "\n".join([" ".join([*parts, f"[{error['code']}]"]), *command])


def output_tail(lines: Iterable[str]) -> list[str]:
    """The last lines of a program's output that say something, indented to stand below an error."""
    return [f"    | {line}" for line in lines if line][-OUTPUT_LINES:]


def summary(rows: Sequence[Sequence[str]], *, width: int | None = None) -> str:
    """Rows of texts in columns, two spaces apart; the first row has their names. Nothing is cut: paths are copied.

    With *width*, what is too long goes on below itself; where there is no room for columns, each row is a paragraph.
    Returns lines without a last newline.
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max(cells(row[column]) for row in rows if column < len(row)) for column in range(columns)]
    while width is not None and sum(widths) + GAP * (columns - 1) > width:
        widest = widths.index(max(widths))
        if widths[widest] <= NARROWEST:
            return "\n".join(line for row in rows[1:] or rows for line in _paragraph(row, rows[0], width))
        widths[widest] -= 1
    lines = []
    for row in rows:
        parts = [wrap(cell, widths[column]) for column, cell in enumerate(row)] or [[""]]
        for line in zip_longest(*parts, fillvalue=""):
            lines.append((" " * GAP).join(pad(cell, widths[column]) for column, cell in enumerate(line)).rstrip())
    return "\n".join(lines)


def _paragraph(row: Sequence[str], names: Sequence[str], width: int) -> Iterator[str]:
    """*row* as lines of at most *width* cells: its first cell, and the others below it behind their *names*."""
    for column, cell in enumerate(row):
        if not column or cell:
            indent = " " * GAP if column and width > 4 * GAP else ""
            name = f"{names[column]}: " if column and row is not names and column < len(names) and names[column] else ""
            yield from (indent + line for line in wrap(name + cell, max(width - len(indent), 1)))


def wrap(text: str, width: int) -> list[str]:
    """*text* as lines of at most *width* cells, broken at blanks; in a word only when it is longer than a line."""
    if cells(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cells(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = ""
        for character in word:
            if line and cells(line + character) > width:
                lines.append(line)
                line = ""
            line += character
    return [*lines, line]


def timeline_chart(records: Sequence[StageRecord], *, width: int = 80, ascii_only: bool = False) -> str:
    """Where the time went: a line for each stage with a bar from its start to its end, and its seconds.

    Children stand indented below their parent. On a terminal too narrow for bars only names and seconds are left.
    Returns lines without a last newline; an empty text when nothing was recorded.
    """
    if not records:
        return ""
    first = min(record.start for record in records)
    whole = max((max(record.end for record in records) - first).total_seconds(), 0.001)
    ends = [
        (seconds_text(record.seconds), "" if record.state == "ok" or width < 40 else record.state) for record in records
    ]
    seconds_width = max(cells(seconds) for seconds, _ in ends)
    state_width = max(cells(state) for _, state in ends)
    tail = seconds_width + (state_width + 1 if state_width else 0)
    names = ["  " * record.depth + record.name for record in records]
    name_width = min(max(map(cells, names)), max(width // 3, width - tail - 2 if width < 50 else 0, 4))
    bars = width - name_width - tail - 2
    full, empty = ("#", ".") if ascii_only else ("█", "·")
    lines = []
    for record, name, (seconds, state) in zip(records, names, ends, strict=True):
        line = pad(fit(name, name_width, ascii_only=ascii_only), name_width) + " "
        if bars >= 10:
            before = min(int((record.start - first).total_seconds() / whole * bars), bars - 1)
            length = max(1, min(round(record.seconds / whole * bars), bars - before))
            line += empty * before + full * length + empty * (bars - before - length) + " "
        line += f"{seconds:>{seconds_width}} {state}"
        lines.append(fit(line.rstrip(), width, ascii_only=ascii_only))
    return "\n".join(lines)
