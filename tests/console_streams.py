"""Consoles that write to memory, and what they wrote."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from factory.console import Console


def plain() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console.create("text", stream), stream


def events() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console.create("json", stream), stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def without_stamps(stream: io.StringIO) -> list[str]:
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), lines
    return [line[9:] for line in lines]
