"""Every mistake in a recipe is a fault on its line, under its path, in words that say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import Fault
from factory.recipe import rules, validate
from tests.recipe_files import FINGERPRINT, HEAD, PUBLIC_KEY, faults, write

FILES: dict[str, str | bytes] = {
    "index.html": "<h1>@greeting@</h1>\n",
    "bad.html": "a\nb @greting@ c @other@\n@other@\n",
    "logo.png": b"\x89PNG\xff\xfe",
    "site/a.html": "a",
    "site/b/c.html": "line one\n@unknown@\n",
    "run.sh": "echo hi\n",
    "empty.sh": "",
    "k.asc": PUBLIC_KEY,
    "secret.asc": PUBLIC_KEY.replace("PUBLIC", "PRIVATE"),
}
REPOSITORY = "uri: https://example.org/debian, suite: bookworm, components: [main]"
OTHER = FINGERPRINT[:-1] + "8"


@pytest.fixture(autouse=True)
def two_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clouds are known, whatever the factory knows today."""
    folder = tmp_path / "targets"
    folder.mkdir()
    for name in ("mgc", "oci"):
        (folder / f"{name}.yaml").touch()
    monkeypatch.setattr(rules, "TARGETS", folder)


GOOD = [
    "",
    "description: ''\n",
    "architecture: x86_64\n",
    "disk: 1GiB\n",
    "disk: 4294967296\n",
    "disk: 1.5 GiB\nrequirements: {disk: 1536MiB}\n",
    "machine: {cpus: 64, memory: 256MiB, network: user}\n",
    "machine: {network: none}\nupgrade: none\nprovision: [{shell: 'true'}]\n",
    "variables: {a: {}, b_2: {default: ''}, c: {default: x, secret: off}, d: {secret: YES}, e: {secret: on, default: ''}}\n",
    f"repositories: [{{{REPOSITORY}}}]\n",
    f"repositories: [{{{REPOSITORY}, key: k.asc, fingerprint: {FINGERPRINT.lower()}}}]\n",
    f"repositories: [{{{REPOSITORY}, key: ./k.asc, fingerprint: '{FINGERPRINT[:20]} {FINGERPRINT[20:]}'}}]\n",
    "repositories: [{uri: 'http://[::1]:8080/x', suite: stable/}]\n",
    "upgrade: all\n",
    "cloud_init: {timezone: UTC, runcmd: [[a, b]], users: [{name: app, system: true}]}\n",
    "provision: []\ntest: []\ntargets: []\nproperties: {}\nrepositories: []\ncloud_init: {}\n",
    "provision: [{packages: [nginx, g++, 'libc6:amd64', nginx=1.22.1-9+deb12u1, 'nginx=1.22*', 0ad]}]\n",
    "provision: [{copy: {source: index.html, destination: /a/b}}]\n",
    "provision: [{copy: {source: site, destination: /}}, {copy: {source: site/, destination: /x/}}]\n",
    "provision: [{copy: {source: logo.png, destination: /x, owner: www-data, group: 33, mode: 04755}}]\n",
    "provision: [{shell: 'a'}, {shell: {run: a, environment: {A_b: '', x: 1}, directory: /tmp, refresh: 24h}}]\n",
    "provision: [{shell: {script: run.sh, refresh: always, timeout: 90}}]\n",
    "test: [{service: nginx}, {service: {name: 'postgresql@15-main.service', timeout: 5m}}]\n",
    "test: [{http: {}}, {http: {port: 8080, path: '/a?b=c', status: 404, contains: x, timeout: 10s}}]\n",
    "test: [{command: nginx -t}, {command: {run: 'false', status: 1, contains: ok}}, {port: 80}, {port: {port: 1}}]\n",
    "checks: {ignore: {GEN-G28: a test key}, allow_users: [app, '1000']}\n",
    "targets: [mgc, oci]\n",
    "requirements: {vcpus: 256, memory: 128MiB, disk: 4GiB}\n",
    "properties: {team: web, a.b/c: '', on: off, empty: }\n",
]  # fmt: skip


@pytest.mark.parametrize("more", GOOD)
def test_this_is_right(tmp_path: Path, more: str) -> None:
    write(tmp_path, HEAD + more, FILES)
    assert validate(["web"], root=tmp_path) == []


# What is written from line 5 on; then line, path, a part of the message and of the suggestion of the one fault.
WRONG: list[tuple[str, int, str, str, str]] = [
    ("provisoin: []\n", 5, "provisoin", "unknown key 'provisoin'", "did you mean 'provision'?"),
    ("Disk: 4GiB\n", 5, "Disk", "unknown key 'Disk'", "did you mean 'disk'?"),
    ("nmae: x\n", 5, "nmae", "unknown key", "did you mean 'name'? it is there already"),
    ("cpus: 2\n", 5, "cpus", "unknown key 'cpus'", "it belongs under 'machine'"),
    ("machine:\n  cpus: 2\n  provision: []\n", 7, "machine.provision", "unknown key", "indent it less"),
    ("machine: {cpu: 2}\n", 5, "machine.cpu", "unknown key", "did you mean 'cpus'?"),
    ("machine: {zzz: 2}\n", 5, "machine.zzz", "unknown key", "known here: cpus, memory, network"),
    ("description: {a: b}\n", 5, "description", "must be text, not a mapping", ""),
    ("description: [a]\n", 5, "description", "must be text, not a list", ""),
    ('description: "a\\nb"\n', 5, "description", "must be one line", ""),
    ("architecture: amd64\n", 5, "architecture", "must be x86_64, not 'amd64'", ""),
    ("disk: 4GB\n", 5, "disk", "write 4GiB", ""),
    ("disk: big\n", 5, "disk", "must be a size such as 4GiB, not 'big'", ""),
    ("disk: 1MiB\n", 5, "disk", "must be from 1GiB to 2TiB, not 1MiB", ""),
    ("disk: 3TiB\n", 5, "disk", "must be from 1GiB to 2TiB, not 3TiB", ""),
    ("disk: 1073741825\n", 5, "disk", "whole number of MiB", ""),
    ("disk:\n", 5, "disk", "must be a size", ""),
    ("machine: fast\n", 5, "machine", "must be a mapping (key: value), not 'fast'", ""),
    ("machine:\n", 5, "machine", "has no value", "give it one, or remove the line"),
    ("machine: {cpus: 0}\n", 5, "machine.cpus", "must be from 1 to 64, not 0", ""),
    ("machine: {cpus: 2.5}\n", 5, "machine.cpus", "must be a whole number from 1 to 64, not '2.5'", ""),
    ("machine: {cpus: 9999999999999999999999}\n", 5, "machine.cpus", "must be a whole number", ""),
    ("machine: {cpus: ２}\n", 5, "machine.cpus", "must be a whole number", ""),
    ("machine: {memory: 255MiB}\n", 5, "machine.memory", "must be from 256MiB to 1TiB", ""),
    ("machine: {network: usr}\n", 5, "machine.network", "must be user or none, not 'usr'", "did you mean 'user'?"),
    ("variables: [a]\n", 5, "variables", "must be a mapping", ""),
    ("variables: {greeting: hello}\n", 5, "variables.greeting", "must be a mapping", "write {default: hello}"),
    ("variables: {PATH: {}}\n", 5, "variables.PATH", "must be lower-case letters", "write 'path'"),
    ("variables: {2a: {}}\n", 5, "variables.2a", "starting with a letter", ""),
    ("variables: {https_proxy: {}}\n", 5, "variables.https_proxy", "must be", "belongs to the proxy settings"),
    ("variables: {a: {default: [x]}}\n", 5, "variables.a.default", "must be text, not a list", ""),
    ("variables: {a: {default: x, secret: maybe}}\n", 5, "variables.a.secret", "must be true or false", ""),
    ("variables: {a: {default: x, secret: 1}}\n", 5, "variables.a.secret", "must be true or false", ""),
    ("variables: {a: {secret: true, default: pw}}\n", 5, "variables.a", "is secret", "remove the default and use --set"),
    ("repositories: {}\n", 5, "repositories", "must be a list, not a mapping", ""),
    ("repositories: [{}]\n", 5, "repositories[0]", "is missing", ""),
    (f"repositories: [{{{REPOSITORY.replace('https', 'ftp')}}}]\n", 5, "repositories[0].uri", "must be an http:// or", ""),
    (f"repositories: [{{{REPOSITORY}, key: k.asc}}]\n", 5, "repositories[0]", "belong together", "write both"),
    (f"repositories: [{{{REPOSITORY}, fingerprint: {FINGERPRINT}}}]\n", 5, "repositories[0]", "belong together", ""),
    (f"repositories: [{{{REPOSITORY}, key: k.asc, fingerprint: 12}}]\n", 5, "repositories[0].fingerprint", "40 hex", "it has 2"),
    (f"repositories: [{{{REPOSITORY}, key: k.asc, fingerprint: {OTHER}}}]\n", 5, "repositories[0].fingerprint", FINGERPRINT, ""),
    (f"repositories: [{{{REPOSITORY}, key: no.asc, fingerprint: {OTHER}}}]\n", 5, "repositories[0].key", "there is no 'no.asc'", ""),
    (f"repositories: [{{{REPOSITORY}, key: run.sh, fingerprint: {OTHER}}}]\n", 5, "repositories[0].key", "is no OpenPGP key", ""),
    (f"repositories: [{{{REPOSITORY}, key: secret.asc, fingerprint: {OTHER}}}]\n", 5, "repositories[0].key", "private", ""),
    ("repositories: [{uri: 'https://h', suite: x}]\n", 5, "repositories[0]", "components are missing", "[main]"),
    ("repositories: [{uri: 'https://h', suite: x/, components: [main]}]\n", 5, "repositories[0]", "a flat repository", ""),
    ("repositories: [{uri: 'https://h', suite: ../x/}]\n", 5, "repositories[0].suite", "must be a suite", ""),
    ("repositories: [{uri: 'https://h x', suite: x/}]\n", 5, "repositories[0].uri", "without query or blanks", ""),
    ("repositories: [{uri: 'https://h]/ x', suite: x/}]\n", 5, "repositories[0].uri", "without query or blanks", ""),
    ("repositories: [{uri: 'https://h', suite: x, components: ['a b']}]\n", 5, "repositories[0].components[0]", "must be a comp", ""),
    ("upgrade: no\n", 5, "upgrade", "must be all, security or none, not 'no'", "did you mean 'none'?"),
    ("cloud_init: x\n", 5, "cloud_init", "must be a mapping", ""),
    ("cloud_init:\n  timezone: UTC\n  ssh_keys: {}\n", 7, "cloud_init.ssh_keys", "cannot be set by a recipe: the build's host", ""),
    ("cloud_init: {users: [default]}\n", 5, "cloud_init.users[0]", "'default' is the user", ""),
    ("cloud_init: {users: [{gecos: x}]}\n", 5, "cloud_init.users[0]", "has no name", ""),
    ("cloud_init: {users: app}\n", 5, "cloud_init.users", "must be a list", ""),
    ("cloud_init: {users: [{name: a, passwd: x}]}\n", 5, "cloud_init.users[0].passwd", "with a password", ""),
    ("provision: nginx\n", 5, "provision", "must be a list, not 'nginx'", ""),
    ("provision:\n", 5, "provision", "has no value", "remove the line"),
    ("provision:\n  - nginx\n", 6, "provision[0]", "must be a mapping with one of packages, copy, shell", ""),
    ("provision:\n  - {}\n", 6, "provision[0]", "must be a mapping with one of", ""),
    ("provision:\n  - shel: x\n", 6, "provision[0].shel", "unknown kind 'shel'", "did you mean 'shell'?"),
    ("provision:\n  - zzz: x\n", 6, "provision[0].zzz", "unknown kind", "one of packages, copy, shell"),
    ("provision:\n  - shell: x\n    packages: [ab]\n", 7, "provision[0].packages", "stand in one entry", "a - of its own"),
    ("provision:\n  - shell: x\n    when: y\n", 7, "provision[0].when", "unknown key 'when' beside shell", ""),
    ("provision: [{packages: nginx}]\n", 5, "provision[0].packages", "must be a list, not 'nginx'", "write [nginx]"),
    ("provision: [{packages: []}]\n", 5, "provision[0].packages", "has no value", ""),
    ("provision: [{packages: {install: [a]}}]\n", 5, "provision[0].packages", "must be a list, not a mapping", ""),
    ("provision: [{packages: [-o]}]\n", 5, "provision[0].packages[0]", "must be a Debian package", "options are not packages"),
    ("provision: [{packages: [--allow-unauthenticated]}]\n", 5, "provision[0].packages[0]", "Debian package", "options"),
    ("provision: [{packages: ['a b']}]\n", 5, "provision[0].packages[0]", "Debian package", "one package an item"),
    ("provision: [{packages: [nginx-]}]\n", 5, "provision[0].packages[0]", "Debian package", "tell apt to remove"),
    ("provision: [{packages: [Nginx]}]\n", 5, "provision[0].packages[0]", "Debian package", "write 'nginx'"),
    ("provision: [{packages: [./a.deb]}]\n", 5, "provision[0].packages[0]", "Debian package", ""),
    ("provision: [{packages: ['a;reboot']}]\n", 5, "provision[0].packages[0]", "Debian package", ""),
    ('provision: [{packages: ["nginx\\n"]}]\n', 5, "provision[0].packages[0]", "Debian package", ""),
    ("provision: [{copy: index.html}]\n", 5, "provision[0].copy", "must be a mapping (key: value), not 'index.html'", ""),
    ("provision: [{copy: {destination: /x}}]\n", 5, "provision[0].copy", "'source' is missing", "such as source: index.html"),
    ("provision: [{copy: {source: no.html, destination: /x}}]\n", 5, "provision[0].copy.source", "there is no 'no.html' in 'web'/", ""),
    ("provision: [{copy: {source: indx.html, destination: /x}}]\n", 5, "provision[0].copy.source", "there is no", "did you mean 'index.html'?"),
    ("provision: [{copy: {source: /etc/passwd, destination: /x}}]\n", 5, "provision[0].copy.source", "inside the recipe's", ""),
    ("provision: [{copy: {source: ~/x, destination: /x}}]\n", 5, "provision[0].copy.source", "inside the recipe's folder", ""),
    ("provision: [{copy: {source: ../web.yaml, destination: /x}}]\n", 5, "provision[0].copy.source", "must not leave", ""),
    ("provision: [{copy: {source: a/../../b, destination: /x}}]\n", 5, "provision[0].copy.source", "must not leave", ""),
    ('provision: [{copy: {source: "a\\x1bb", destination: /x}}]\n', 5, "provision[0].copy.source", "control character", ""),
    ("provision: [{copy: {source: index.html, destination: x}}]\n", 5, "provision[0].copy.destination", "absolute path", "write '/x'"),
    ("provision: [{copy: {source: index.html, destination: /a/../b}}]\n", 5, "provision[0].copy.destination", "a plain path", ""),
    ("provision: [{copy: {source: index.html, destination: /a//b}}]\n", 5, "provision[0].copy.destination", "a plain path", ""),
    ("provision: [{copy: {source: index.html, destination: /a/}}]\n", 5, "provision[0].copy.destination", "ends with /", "file's name"),
    ("provision: [{copy: {source: index.html, destination: /a, mode: 0888}}]\n", 5, "provision[0].copy.mode", "octal", ""),
    ("provision: [{copy: {source: index.html, destination: /a, mode: u+x}}]\n", 5, "provision[0].copy.mode", "octal", ""),
    ("provision: [{copy: {source: index.html, destination: /a, owner: 'a:b'}}]\n", 5, "provision[0].copy.owner", "must be", "two"),
    ("provision: [{copy: {source: index.html, destination: /a, group: -x}}]\n", 5, "provision[0].copy.group", "must be", ""),
    ("provision: [{copy: {source: logo.png, destination: /a, template: yes}}]\n", 5, "provision[0].copy.source", "not UTF-8", ""),
    ("provision: [{shell: ''}]\n", 5, "provision[0].shell", "has no value", ""),
    ("provision: [{shell: [a, b]}]\n", 5, "provision[0].shell", "must be text, not a list", ""),
    ("provision: [{shell: {}}]\n", 5, "provision[0].shell", "has nothing to run", "write run:"),
    ("provision: [{shell: {run: a, script: run.sh}}]\n", 5, "provision[0].shell", "both run and script", "two steps"),
    ("provision: [{shell: {script: no.sh}}]\n", 5, "provision[0].shell.script", "there is no 'no.sh'", ""),
    ("provision: [{shell: {script: empty.sh}}]\n", 5, "provision[0].shell.script", "is empty", ""),
    ("provision: [{shell: {script: site}}]\n", 5, "provision[0].shell.script", "is not a regular file", ""),
    ("provision: [{shell: {run: a, environment: {A-B: x}}}]\n", 5, "provision[0].shell.environment.A-B", "must be letters", ""),
    ("provision: [{shell: {run: a, directory: tmp}}]\n", 5, "provision[0].shell.directory", "absolute path", "write '/tmp'"),
    ("provision: [{shell: {run: a, timeout: soon}}]\n", 5, "provision[0].shell.timeout", "must be a duration", ""),
    ("provision: [{shell: {run: a, timeout: 2d}}]\n", 5, "provision[0].shell.timeout", "must be from 1s to 1d, not 2d", ""),
    ("provision: [{shell: {run: a, refresh: daily}}]\n", 5, "provision[0].shell.refresh", "or always, not 'daily'", ""),
    ("test: [{service: -x}]\n", 5, "test[0].service", "must be the name of a systemd unit", ""),
    ("test: [{http: {port: 65536}}]\n", 5, "test[0].http.port", "must be from 1 to 65535", ""),
    ("test: [{http: {path: x}}]\n", 5, "test[0].http.path", "must be a path that starts with '/'", ""),
    ("test: [{http: {status: 600}}]\n", 5, "test[0].http.status", "must be from 100 to 599", ""),
    ("test: [{http: 80}]\n", 5, "test[0].http", "must be a mapping", ""),
    ("test: [{command: {status: 1}}]\n", 5, "test[0].command", "'run' is missing", "such as run: nginx -t"),
    ("test: [{command: {run: a, status: 256}}]\n", 5, "test[0].command.status", "must be from 0 to 255", ""),
    ("test: [{port: http}]\n", 5, "test[0].port", "must be a whole number from 1 to 65535, not 'http'", ""),
    ("test: [{port: 0}]\n", 5, "test[0].port", "must be from 1 to 65535", ""),
    ("test: [{ping: x}]\n", 5, "test[0].ping", "unknown kind 'ping'", ""),
    ("checks: {ignore: {R1: ''}}\n", 5, "checks.ignore.R1", "has no value", ""),
    ("checks: {ignore: {R1: '  '}}\n", 5, "checks.ignore.R1", "has no value", ""),
    ("checks: {ignore: [R1]}\n", 5, "checks.ignore", "must be a mapping", ""),
    ("checks: {ignore: {'a b': x}}\n", 5, "checks.ignore.a b", "must be the id of a rule", ""),
    ("checks: {allow_users: [A b]}\n", 5, "checks.allow_users[0]", "must be the name or number", ""),
    ("targets: mgc\n", 5, "targets", "must be a list, not 'mgc'", "write [mgc]"),
    ("targets: [mcg]\n", 5, "targets[0]", "unknown target 'mcg'", "did you mean 'mgc'?"),
    ("targets: [zzzz]\n", 5, "targets[0]", "unknown target 'zzzz'", "known are mgc, oci"),
    ("requirements: {vcpus: 0}\n", 5, "requirements.vcpus", "must be from 1 to 256", ""),
    ("requirements: {disk: 3GiB}\n", 5, "requirements.disk", "is less than the image's disk, 4GiB", "at least 4GiB"),
    ("disk: 20GiB\nrequirements:\n  disk: 10GiB\n", 7, "requirements.disk", "is less than the image's disk, 20GiB", ""),
    ("properties: {a b: c}\n", 5, "properties.a b", "must be letters, digits", ""),
    ("properties: {a: [b]}\n", 5, "properties.a", "must be text, not a list", ""),
    ("machine: {network: none}\nupgrade: none\nprovision: [{packages: [ab]}]\n", 7, "provision[0].packages", "needs the network", ""),
    ("machine:\n  network: none\n", 6, "machine.network", "updates need the network", "write upgrade: none"),
    ("upgrade: all\nmachine: {network: none}\n", 5, "upgrade", "updates need the network", ""),
    ("name: web\n", 5, "", "the key 'name' is repeated; it first stands in line 2", ""),
    ("properties:\n  a: 1\n  a: 2\n", 7, "", "the key 'a' is repeated; it first stands in line 6", ""),
]  # fmt: skip


@pytest.mark.parametrize(("more", "line", "path", "message", "suggestion"), WRONG, ids=lambda value: str(value)[:40])
def test_one_mistake_is_one_fault(
    tmp_path: Path, more: str, line: int, path: str, message: str, suggestion: str
) -> None:
    found = faults(tmp_path, more, FILES)
    if "repositories: [{}]" in more:
        assert [fault.message for fault in found] == ["'suite' is missing", "'uri' is missing"]
        return
    assert len(found) == 1, found
    fault = found[0]
    assert (fault.file, fault.line, fault.path) == ("recipes/web.yaml", line, path)
    assert message in fault.message
    assert suggestion in fault.suggestion


# The four fields of the head, each wrong in its way.
HEADS: list[tuple[str, str, int, str, str, str]] = [
    ("schema: 1", "schema: 2", 1, "schema", "must be from 1 to 1", ""),
    ("schema: 1\n", "", 1, "", "'schema' is missing", "write schema: 1"),
    ("name: web\n", "", 1, "", "'name' is missing", "such as name: nginx"),
    ("version: 1.0.0\n", "", 1, "", "'version' is missing", "such as version: 1.0.0"),
    ("base: debian-12\n", "", 1, "", "'base' is missing", "such as base: debian-12"),
    ("name: web", "nmae: web", 2, "nmae", "unknown key 'nmae'", "did you mean 'name'?"),
    ("name: web", "name: other", 2, "name", "is 'other', but the file is 'web.yaml'", "both the same name"),
    ("name: web", "name: a/b", 2, "name", "must be lower-case letters", "it is a name, not a path"),
    ("name: web", "name: Web", 2, "name", "must be lower-case letters", "write 'web'"),
    ("name: web", "name: -web", 2, "name", "must be lower-case letters", ""),
    ("name: web", "name: " + "a" * 64, 2, "name", "must be lower-case letters", ""),
    ("name: web", "name:", 2, "name", "has no value", ""),
    ("name: web", 'name: "web\\n"', 2, "name", "must be lower-case letters", ""),
    ("version: 1.0.0", "version: 1/0", 3, "version", "must be letters, digits", ""),
    ("version: 1.0.0", "version: -1", 3, "version", "must be letters, digits", ""),
    ("version: 1.0.0", "version: [1]", 3, "version", "must be text, not a list", ""),
    ("debian-12", "debain-12", 4, "base", "there is no base 'debain-12'", "debian-12"),
    ("debian-12", "debian-12@sha256:abc", 4, "base", "must be a base image's name", ""),
    ("debian-12", "./no.qcow2", 4, "base", "is not there", "no.qcow2"),
    ("debian-12", "Debian 12", 4, "base", "must be a base image's name", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message", "suggestion"), HEADS, ids=lambda value: str(value)[:30]
)
def test_one_mistake_in_a_required_field_is_one_fault(
    tmp_path: Path, old: str, new: str, line: int, path: str, message: str, suggestion: str
) -> None:
    write(tmp_path, HEAD.replace(old, new))
    found = validate(["web"], root=tmp_path)
    assert len(found) == 1, found
    assert (found[0].line, found[0].path) == (line, path)
    assert message in found[0].message
    assert suggestion.lower() in found[0].suggestion.lower()


def test_a_base_may_be_pinned_or_a_file_beside_the_recipe(tmp_path: Path) -> None:
    for base in (
        f"debian-12@sha256:{'0f' * 32}",
        "./disk.qcow2",
        str(tmp_path / "recipes/web/disk.qcow2"),
        "disk.qcow2",
    ):
        write(tmp_path, HEAD.replace("debian-12", base), {"disk.qcow2": b"QFI\xfb"})
        assert validate(["web"], root=tmp_path) == []


def test_ten_mistakes_are_ten_faults_in_the_order_of_the_lines(tmp_path: Path) -> None:
    more = """disk: 4G
machine: {cpus: none}
upgrade: sometimes
provision:
  - packages: [-x]
  - copy: {source: nothing, destination: relative}
  - shel: true
test:
  - port: 0
targets: [nowhere]
unknown: 1
"""
    found = faults(tmp_path, more, FILES)
    assert [(fault.line, fault.path) for fault in found] == [
        (5, "disk"),
        (6, "machine.cpus"),
        (7, "upgrade"),
        (9, "provision[0].packages[0]"),
        (10, "provision[1].copy.destination"),
        (10, "provision[1].copy.source"),
        (11, "provision[2].shel"),
        (13, "test[0].port"),
        (14, "targets[0]"),
        (15, "unknown"),
    ]


def test_fields_at_the_indent_of_their_step_are_told_so_and_are_looked_at_all_the_same(tmp_path: Path) -> None:
    more = "provision:\n  - copy:\n    source: index.html\n    destination: relative\n"
    found = faults(tmp_path, more, FILES)
    assert [(fault.line, fault.suggestion) for fault in found] == [
        (6, "write '/relative'"),
        (7, "indent it further, below copy"),
        (8, "indent it further, below copy"),
    ]


def test_each_unknown_place_of_a_template_is_a_fault_with_its_file_and_line(tmp_path: Path) -> None:
    more = """variables: {greeting: {default: hello}}
provision:
  - copy: {source: bad.html, destination: /x, template: true}
  - copy: {source: bad.html, destination: /x, template: false}
  - copy: {source: index.html, destination: /x, template: on}
  - copy: {source: site, destination: /x, template: true}
"""
    found = [(fault.line, fault.message, fault.suggestion) for fault in faults(tmp_path, more, FILES)]
    assert found == [
        (7, "line 2 of 'bad.html' has @greting@, but no variable is called so", "did you mean 'greeting'?"),
        (7, "line 2 of 'bad.html' has @other@, but no variable is called so", "declare it under variables"),
        (10, "line 2 of 'site/b/c.html' has @unknown@, but no variable is called so", "declare it under variables"),
    ]


def test_a_password_in_an_address_is_a_fault_that_does_not_show_it(tmp_path: Path) -> None:
    found = faults(tmp_path, "repositories: [{uri: 'https://u:hunter2@h/x', suite: x/}]\n")
    assert [fault.message for fault in found] == ["holds credentials"]
    assert "hunter2" not in str(found)


def test_what_the_file_says_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    more = 'upgrade: "\\x1b[31m\\u202e"\n"\\x1b]0;evil\\x07": 1\nprovision: [{"\\x1b[2J": 1}]\n'
    found = faults(tmp_path, more)
    assert len(found) == 3
    assert all(str(fault).isprintable() for fault in found)


def test_long_values_are_shortened(tmp_path: Path) -> None:
    assert all(len(str(fault)) < 400 for fault in faults(tmp_path, f"upgrade: {'x' * 5000}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n", "is a list, not a mapping"),
        ("text\n", "is text, not a mapping"),
        ("a: [\n", "never closed"),
        ("\xff", "is text"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_fault(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    found = validate(["web"], root=tmp_path)
    assert len(found) == 1
    assert message in found[0].message
    assert isinstance(found[0], Fault)
