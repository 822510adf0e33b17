"""The names by which a recipe and the command line call what is found: rules of clouds, and a build's own findings.

A rule is called by its id or by a name that it covers, in any case. A build finds more than rules do: what each scrub
operation left behind (``SCRUB-...``), what a booted image must do (``BOOT-...``), and the recipe's tests (``TEST-n``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from factory.targets import Rule

BOOT = (
    "BOOT-CLOUD-INIT",
    "BOOT-DATASOURCE",
    "BOOT-DHCP",
    "BOOT-HOST-KEYS",
    "BOOT-HOST-KEYS-UNIQUE",
    "BOOT-HOSTNAME",
    "BOOT-IMAGE-UNCHANGED",
    "BOOT-KEYS",
    "BOOT-LOGIN",
    "BOOT-MACHINE-ID",
    "BOOT-MACHINE-ID-UNIQUE",
    "BOOT-PASSWORDS",
    "BOOT-REBOOT",
    "BOOT-REBOOT-UNITS",
    "BOOT-REBOOT-USER-DATA",
    "BOOT-ROOT-GROWN",
    "BOOT-UNITS",
    "BOOT-USER-DATA",
)


def of_rules(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """Each name of *rules*, in capitals, with the ids that it means: two rules may cover one name."""
    rules = tuple(rules)
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        for name in rule.covers:
            found[name] = (*found.get(name, ()), rule.id)
    return found | {rule.id: (rule.id,) for rule in rules}


def of_builds(tests: int = 0) -> dict[str, tuple[str, ...]]:
    """The same for all that a build can find, whatever its targets; its recipe has *tests* tests."""
    from factory import scrub, targets

    every = {rule.id: rule for name in targets.names() for rule in targets.rules(targets.load(name))}
    own = ["SCRUB-CANARIES", *(f"SCRUB-{operation.name.upper()}" for operation in scrub.operations()), *BOOT]
    own += [f"TEST-{number}" for number in range(1, tests + 1)]
    return of_rules(every.values()) | {name: (name,) for name in own}


def ids(ignored: Mapping[str, str]) -> dict[str, str]:
    """The reasons of *ignored* by the ids that its names mean; a name that is not known stays, in capitals."""
    known = of_builds() if ignored else {}
    return {rule: reason for name, reason in ignored.items() for rule in known.get(name.upper(), (name.upper(),))}
