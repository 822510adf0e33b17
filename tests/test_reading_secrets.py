"""Private keys and tokens in an image's own files: what is found, what is no secret, and what is not searched."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from factory import targets
from factory.checks.leftover_files import LINE
from factory.reading import own_files, secrets
from tests.guest_tree import Tree, link, plant

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----\n"


def found(tmp_path: Path, content: str | bytes, path: str = "/srv/file") -> list[secrets.Secret]:
    return list(secrets.read(Tree(plant(tmp_path, {path: content}))))


@pytest.mark.parametrize(
    ("content", "line", "kind"),
    [
        (KEY, 1, "RSA private key"),
        (f"x\n\n{KEY}", 3, "RSA private key"),
        (KEY.replace("\n", "\r\n"), 1, "RSA private key"),
        (
            f"Proc-Type\n{KEY}".replace("KEY-----\nM", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A\n\nM"),
            2,
            "RSA private key",
        ),
        (KEY.replace("RSA ", ""), 1, "private key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n", 1, "PGP private key"),
        ('{"a": 1,\n"private_key": "' + KEY.replace("\n", "\\n") + '"}', 2, "RSA private key"),
        (b"\0\1" * 40000 + KEY.encode(), 0, ""),  # not at the start of a line: no PEM file
        (b"\0\1" * 40000 + b"\n" + KEY.encode(), 2, "RSA private key"),
        ("PuTTY-User-Key-File-2: ssh-rsa\n", 1, "PuTTY private key"),
        *(
            (bytes.fromhex(start) + bytes(range(60)), 0, "private key in DER")
            for start in (
                "308204bd020100300d06092a864886f70d0101010500",  # PKCS#8, RSA
                "308187020100301306072a8648ce3d0201",  # elliptic curve
                "302e020100300506032b657004220420",  # Ed25519
                "3082015a0201003082013306072a8648ce380401",  # DSA
                "3082052d305706092a864886f70d01050d",  # encrypted
                "308204a30201000282010100cd01",  # PKCS#1
                "3077020101042076",  # SEC 1
            )
        ),
        (bytes.fromhex("30820309308201f1a003020102021409"), 0, ""),  # a certificate
        (bytes.fromhex("30820122300d06092a864886f70d01010105000382010f00"), 0, ""),  # a public key
        (bytes.fromhex("3082010a0282010100cd01acf0f17a"), 0, ""),
    ],
)
def test_private_keys_of_every_form(tmp_path: Path, content: str | bytes, line: int, kind: str) -> None:
    secret = found(tmp_path, content)
    assert [(each.line, each.kind, each.key) for each in secret] == ([(line, kind, True)] if kind else [])
    assert BODY not in repr(secret), "a finding must not tell the secret"


@pytest.mark.parametrize(
    "content",
    [
        'if "-----BEGIN RSA PRIVATE KEY-----" in text:\n',
        "# -----BEGIN RSA PRIVATE KEY-----\n# paste here\n",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n",
        "-----BEGIN RSA PRIVATE KEY-----\n\n-----END RSA PRIVATE KEY-----\n",
        "ghp_tooShort",
        "AKIAIOSFODNN7EXAMPLE",
        "# https://me:hunter22@example.org/\n",
        "https://${USER}:${PASSWORD}@example.org/",
        "https://example.org:8080/path@x",
    ],
)
def test_what_only_looks_like_one(tmp_path: Path, content: str) -> None:
    assert found(tmp_path, content) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("ghp_" + "aB3" * 12, "GitHub token"),
        ("AKIA" + "QWERTYUIOPASDFGH", "AWS access key"),
        ("url = https://me:hunter22@example.org/x", "password in a URL"),
        ("glpat-" + "x" * 20, "GitLab token"),
        ("hvs." + "C" * 30, "Vault token"),
        ("passwd: $6$" + "saltsalt$" + "h" * 40, "hash of a password"),
    ],
)
def test_tokens_are_told_by_kind_and_length(tmp_path: Path, content: str, kind: str) -> None:
    (secret,) = found(tmp_path, f"first line\n{content}\n")
    assert (secret.kind, secret.line, secret.key) == (kind, 2, False)
    assert secret.evidence == f"/srv/file:2: {kind}, {secret.length} bytes"


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/etc/x", True),
        ("/root/x", True),
        ("/data/x", True),
        ("/x", True),
        ("/usr/local/bin/x", True),
        ("/home/a b/[x]", True),
        ("/var/lib/x/y", True),
        ("/usr/share/doc/x", False),
        ("/usr/lib/x", False),
        ("/boot/x", True),
        ("/var/lib/dpkg/info/x", False),
        ("/var/lib/docker/overlay2/x/diff/key", False),
        ("/opt/venv/lib/python3.11/site-packages/x/test.pem", False),
        ("/srv/app/node_modules/x/key.pem", False),
    ],
)
def test_which_files_are_the_images_own(tmp_path: Path, path: str, own: bool) -> None:
    image = Tree(plant(tmp_path, {path: KEY, "/etc/link": link(path), "/etc/empty": ""}))
    assert [name for name, _ in own_files.read(image)] == ([path] if own else [])
    assert [secret.path for secret in secrets.read(image)] == ([path] if own else [])


def test_what_a_package_brought_is_none(tmp_path: Path) -> None:
    files = {"/opt/a/key.pem": KEY, "/opt/b/key.pem": KEY, "/opt/c/key.pem": KEY}
    lists = {
        "/var/lib/dpkg/info/a.list": "/opt\n/opt/a\n/opt/a/key.pem\n",
        "/lib/apk/db/installed": "P:b\nF:opt/b\nR:key.pem\n",
    }
    assert [each.path for each in secrets.read(Tree(plant(tmp_path, files | lists)))] == ["/opt/c/key.pem"]


ACCESS = "AKIA" + "Q3EGRIVTZ7XK2LMN"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("-eyJ" * 500_000, 0),
        ("eyJaaaaaaaaaaa " * 100_000, 0),
        ("AKIAIOSFODNN7EXAMPLE " * 100_000 + ACCESS, 1),
        (" " * 1_000_000 + f"{ACCESS} " * 2000, secrets.MOST),
        (f"{JWT}\n" * 20_000, secrets.MOST),
        (KEY * 20_000, secrets.MOST),
    ],
)
def test_a_file_that_is_made_to_take_long_takes_seconds(tmp_path: Path, content: str, told: int) -> None:
    before = time.process_time()
    assert len(found(tmp_path, content)) == told
    assert time.process_time() - before < 10  # each took minutes, or days, when its time went with the square


def test_the_line_of_a_late_token(tmp_path: Path) -> None:
    assert [each.line for each in found(tmp_path, f"{ACCESS}\n\n# {ACCESS}\n x {ACCESS}\n")] == [1, 4]


@pytest.mark.parametrize("unit", ["TOKEN", "TOKENFILE", "a", "://a", "secret ", "x:", " ", "password ", "=", '"auth" '])
def test_no_expression_of_a_rule_takes_long_over_one_line(unit: str) -> None:
    lines = [each for rule in targets.rules(targets.load("mgc")) for each in rule.parameters.get("lines", [])]
    for expression in [re.compile(each["matches"], re.IGNORECASE) for each in lines]:
        before = time.process_time()
        for start in ("", "Environment=", "extraheader=", "export "):
            expression.search(start + unit * LINE, 0, LINE)
        assert time.process_time() - before < 0.2, expression.pattern
