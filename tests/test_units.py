"""Sizes and durations, there and back."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        ("4 gib", 4 << 30),
        ("1.5TiB", 3 << 39),
        ("0.5MiB", 1 << 19),
        ("512MiB", 512 << 20),
        ("1024", 1024),
        ("10B", 10),
        ("0", 0),
    ],
)
def test_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4G", "write 4GiB"),
        ("4GB", "write 4GiB"),
        ("2.5t", "write 2.5TiB"),
        ("512mb", "write 512MiB"),
        ("4XiB", "KiB, MiB, GiB or TiB"),
        ("", "such as 4GiB"),
        ("GiB", "such as 4GiB"),
        ("-1GiB", "such as 4GiB"),
        ("four", "such as 4GiB"),
        ("٤GiB", "such as 4GiB"),
        ("0.1B", "whole number of bytes"),
        ("9" * 5000 + "GiB", "such as 4GiB"),
    ],
)
def test_what_is_no_size_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("24h", 86400), ("1h30m", 5400), ("1h 30m", 5400), ("7d", 604800), ("2w", 1209600), ("45", 45)],
)
def test_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "1h30", "-5s", "1.5h", "9" * 5000])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


def test_hostile_text_does_not_take_long() -> None:
    start = time.monotonic()
    for text in ("1" * 100_000 + "!", "1h" * 50_000 + "!", " " * 100_000 + "x"):
        for read in (parse_duration, parse_size):
            with pytest.raises(ValueError, match="must"):
                read(text)
    assert time.monotonic() - start < 2


@given(st.integers(0, 1 << 50))
def test_a_size_comes_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**8))
def test_a_duration_comes_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_the_form_is_the_shortest() -> None:
    assert [format_size(n) for n in (4 << 30, 1536 << 20, 1000, 0)] == ["4GiB", "1536MiB", "1000B", "0B"]
    assert [format_duration(n) for n in (86400, 5400, 90, 0)] == ["1d", "1h30m", "1m30s", "0s"]
