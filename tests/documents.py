"""The documentation, as tests read it: fenced blocks, links, headings, and what is written as code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
TUTORIAL = TOP / "docs" / "tutorial.md"
_BLOCK = re.compile(r"(?:^<!-- (?P<note>[^>\n]+) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)


def documents() -> list[Path]:
    """Every Markdown file that a user reads."""
    return [TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, its line in the document, and the comment directly above it."""

    language: str
    text: str
    line: int
    note: str

    @property
    def status(self) -> int:
        """The exit status with which a block of commands ends: 0, unless ``<!-- exit status: N -->`` says else."""
        return int(self.note.removeprefix("exit status: ")) if self.note.startswith("exit status: ") else 0


def blocks(document: Path) -> list[Block]:
    """All fenced blocks of *document*, in order."""
    text = document.read_text("utf-8")
    return [
        Block(match["language"], match["body"], text.count("\n", 0, match.start("body")), match["note"] or "")
        for match in _BLOCK.finditer(text)
    ]


@dataclass(frozen=True)
class Commands:
    """A block of commands to run, and the block that shows what it prints (empty: nothing is promised)."""

    block: Block
    printed: str = ""


def commands(document: Path) -> list[Commands]:
    """The ``sh`` blocks of *document*, in order, each with the block below it that is marked ``<!-- printed -->``."""
    found: list[Commands] = []
    for block in blocks(document):
        if block.language == "sh":
            found.append(Commands(block))
        elif block.note == "printed":
            found[-1] = Commands(found[-1].block, block.text)
    return found


def missing_lines(promised: str, printed: str) -> list[str]:
    """The lines of *promised* that *printed* does not have in this order.

    Any run of blanks is as good as another; a line that ends with ``…`` promises only its beginning.
    """
    real = iter([" ".join(line.split()) for line in printed.splitlines()])
    missing = []
    for line in filter(None, (" ".join(line.split()) for line in promised.splitlines())):
        start = line.removesuffix("…").rstrip() if line.endswith("…") else None
        if not any(other.startswith(start) if start else other == line for other in real):
            missing.append(line)
    return missing


def prose(document: Path) -> str:
    """*document* without its fenced blocks."""
    return _BLOCK.sub("", document.read_text("utf-8"))


def code_spans(document: Path) -> list[str]:
    """What stands between backticks in the prose of *document*."""
    return re.findall(r"`([^`\n]+)`", prose(document))


def anchors(document: Path) -> set[str]:
    """The anchors of the headings in *document*, as they are made for a link within GitHub and its kin."""
    headings = re.findall(r"^#+ +(.+)$", prose(document), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    """The targets of the links in *document*."""
    return re.findall(r"\[[^\]\n]+\]\(([^)\s]+)\)", prose(document))
