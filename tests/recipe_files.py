"""What the tests of recipes share: a recipe that is right, and the faults of one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from factory.errors import Fault, RecipeError
from factory.recipe import Recipe, load_recipe

HEAD = "schema: 1\nname: web\nversion: 1.0.0\nbase: debian-12\n"
"""The four fields that every recipe needs; what a test adds begins on line 5."""

PUBLIC_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawIsBBYJKwYBBAHaRw8BAQdAOJVwxMIJIZ91Uox/J41dtY1lKXP8k2mP/EdC
M7TUcZa0H1Rlc3QgYXJjaGl2ZSA8dGVzdEBleGFtcGxlLm9yZz6IkAQTFggAOBYh
BHoAcKCNRlaiafDWNeRPmO02mBo3BQJrAiwEAhsDBQsJCAcCBhUKCQgLAgQWAgMB
Ah4BAheAAAoJEORPmO02mBo3M2MA/iCUVPYJORlwkfNnAQN3knXkNSMectT2RbV6
cBcsGnddAQD2Q81BW4bctkc7ljVP9CgYkzAiKJkm6zRX40qdMtnAAw==
=zD4t
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "7A0070A08D4656A269F0D635E44F98ED36981A37"  # what gpg prints for it

FULL = """disk: 8GiB
machine: {cpus: 4, memory: 3GiB}
variables:
  greeting: {default: on}
  token: {secret: yes}
repositories:
  - uri: https://example.org/debian
    suite: bookworm
    components: [main, contrib]
    key: k.asc
    fingerprint: 7A00 70A0 8D46 56A2 69F0  D635 E44F 98ED 3698 1A37
upgrade: none
cloud_init: {timezone: UTC, ntp: {enabled: off}, n: 5, q: "5", mode: 0644, quoted: 'on', nothing: , list: [yes, x]}
provision:
  - packages: [nginx, libc6:amd64]
  - copy: {source: index.html, destination: /var/www/html/index.html, mode: 0640, owner: www-data, template: on}
  # a comment between the steps
  - shell: |
      # first a comment
      systemctl enable nginx
  - shell: {script: run.sh, refresh: always, timeout: 2m, environment: {N: 010}}
test:
  - service: nginx
  - http: {path: /x, contains: "yes"}
  - command: {run: "false", status: 1}
  - port: 443
  - port: {port: 80, timeout: 5s}
checks: {ignore: {GEN-G28: no}, allow_users: [app]}
properties: {team: on, n: 010}
"""
FILES: dict[str, str | bytes] = {"index.html": "@greeting@", "run.sh": "echo\n", "k.asc": PUBLIC_KEY}
"""A recipe with nearly every field, to put behind HEAD; the files that it uses; it wants a value for `token`."""


def blocks(name: str) -> list[str]:
    """The blocks of a text file beside this one, which empty lines part."""
    return [block + "\n" for block in (Path(__file__).parent / name).read_text("utf-8").strip().split("\n\n")]


def write(root: Path, text: str, files: Mapping[str, str | bytes] | None = None, name: str = "web") -> Path:
    """Write ``recipes/<name>.yaml`` below *root*, and *files* into the recipe's folder."""
    recipe = root / "recipes" / f"{name}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, "utf-8")
    for path, content in (files or {}).items():
        file = recipe.with_suffix("") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return recipe


def load(
    root: Path, more: str, files: Mapping[str, str | bytes] | None = None, settings: Mapping[str, str] | None = None
) -> Recipe:
    """The recipe made of HEAD and *more*."""
    write(root, HEAD + more, files)
    return load_recipe("web", settings=settings or {}, root=root)


def faults(
    root: Path, more: str, files: Mapping[str, str | bytes] | None = None, settings: Mapping[str, str] | None = None
) -> list[Fault]:
    """The faults of the recipe made of HEAD and *more*; none when it loads."""
    try:
        load(root, more, files, settings)
    except RecipeError as error:
        return list(error.faults)
    return []
