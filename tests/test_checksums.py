"""Lists of checksums as publishers write them."""

from __future__ import annotations

import pytest

from factory.checksums import Checksum, choose, parse
from factory.errors import BaseError

real = pytest.mark.real


A, B = "a" * 64, "b" * 128


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{A}  x.img", [Checksum("x.img", "sha256", A)]),
        (f"{A} *x.img", [Checksum("x.img", "sha256", A)]),
        (f"{A.upper()}  ./x.img", [Checksum("x.img", "sha256", A)]),
        (f"{B}  name with blanks.img", [Checksum("name with blanks.img", "sha512", B)]),
        (f"SHA256 (x.img) = {A}", [Checksum("x.img", "sha256", A)]),
        (f"SHA512 (x (1).img) = {B}", [Checksum("x (1).img", "sha512", B)]),
        (f"SHA2-256 (x.img) = {A}", [Checksum("x.img", "sha256", A)]),
        (A, [Checksum("*", "sha256", A)]),
        (f"SHA256 (x.img) = {B}", []),
        ("d41d8cd98f00b204e9800998ecf8427e  x.img", []),
        ("MD5 (x.img) = d41d8cd98f00b204e9800998ecf8427e", []),
        ("# x.img: 100 bytes", []),
        ("", []),
    ],
)
def test_lines_of_checksum_files(line: str, expected: list[Checksum]) -> None:
    assert parse(f"# comment\r\n{line}\r\n") == expected


def test_the_highest_version_of_a_pattern() -> None:
    text = "\n".join(f"SHA256 (R-9.{minor}-2026.x.qcow2) = {minor:064x}" for minor in (9, 10, 8))
    assert choose(parse(text), "R-9.*.qcow2", source="s").name == "R-9.10-2026.x.qcow2"


def test_a_name_must_match_whole() -> None:
    checksums = parse(f"{A}  other-x.img\n{A}  x.img.torrent\n{A}  folder/x.img\n")
    with pytest.raises(BaseError, match="lists no SHA-256"):
        choose(checksums, "x.img", source="s")


def test_the_stronger_of_two_algorithms() -> None:
    assert choose(parse(f"{A}  x\n{B}  x\n"), "x", source="s").algorithm == "sha512"


def test_a_list_that_contradicts_itself() -> None:
    assert choose(parse(f"{A}  x\n{A}  x\n"), "x", source="s").digest == A
    with pytest.raises(BaseError, match="two different"):
        choose(parse(f"{A}  x\n{'c' * 64}  x\n"), "x", source="s")


def test_a_lone_digest_counts_for_a_name_but_not_for_a_pattern() -> None:
    assert choose(parse(A), "x.img", source="s").name == "x.img"
    with pytest.raises(BaseError):
        choose(parse(A), "x*.img", source="s")
