"""Kernel modules: none of *modules* is kept from being loaded by modprobe's configuration or the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line, without_words
from factory.leftovers import text
from factory.reading import boot_entries

_FOLDERS = ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d", "/usr/local/lib/modprobe.d")
_NOTHING = ("/bin/true", "/usr/bin/true", "/bin/false", "/usr/bin/false", "/dev/null", ":", "true", "false")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    modules = tuple(name.replace("-", "_") for name in rule.parameters["modules"])
    yield from blocked(looked, modules)
    yield Note(f"{', '.join(modules)}: not blocked")


def blocked(looked: Looked, modules: Collection[str]) -> Iterator[Problem]:
    """A problem for each line, and each word for the kernel, that keeps one of *modules* from being loaded."""
    by_name: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in looked.image.glob(f"{folder}/*.conf"):
            by_name.setdefault(path.rpartition("/")[2], path)  # one in /etc takes the place of its namesake
    for path in by_name.values():
        for number, line in enumerate((text(looked.image, path) or "").splitlines(), 1):
            words = line.partition("#")[0].split()
            if len(words) < 2 or words[1].replace("-", "_") not in modules:
                continue
            if words[0] == "blacklist" or (words[0] == "install" and words[2:3] and words[2] in _NOTHING):
                yield Problem(path, f"{path}:{number}: {' '.join(words)}", fix=without_line(path, number))
    for entry in looked.know(boot_entries.read).entries:
        for name in ("module_blacklist", "modprobe.blacklist", "rd.driver.blacklist"):
            for value in entry.option(name):
                for module in sorted(set(value.replace("-", "_").split(",")) & set(modules)):
                    fix = without_words(f"{name}={value}")
                    yield Problem(entry.path, f"{entry.path}:{entry.line}: {name} has {module}", fix=fix)
