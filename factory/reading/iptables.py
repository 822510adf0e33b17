"""What rules of iptables would do with a connection from outside: iptables-save's format, and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from factory.reading.interfaces import is_virtual
from factory.reading.packet import ACCEPTED, CHAINS, Chain, Verdict, in_network, in_ports

LINE = 10_000  # characters of one rule


def verdict(lines: Sequence[tuple[str, str]], port: int) -> Verdict:
    """The verdict of *lines*, each (text, place): of iptables-save's format, or ``iptables`` commands."""
    chains: dict[str, Chain] = {name: Chain() for name in ("INPUT", "FORWARD", "OUTPUT")}
    table = "filter"
    for line, place in lines:
        try:
            words = shlex.split(line[:LINE], comments=True)
        except ValueError:
            continue
        if words and re.fullmatch(r"(.*/)?ip6?tables(-legacy|-nft)?", words[0]):
            words = words[1:]
            table = "filter"
            while words[:1] in (["-w"], ["--wait"]):
                words = words[1:]
            if words[:1] in (["-t"], ["--table"]):
                table, words = words[1] if len(words) > 1 else "", words[2:]
        if words and words[0].startswith("*"):
            table = words[0][1:]
        elif table == "filter" and words:
            _line(words, place, chains)
    return _chain("INPUT", chains, port, {}) or ACCEPTED


def _line(words: list[str], place: str, chains: dict[str, Chain]) -> None:
    if words[0].startswith(":") and len(words) > 1:
        chain = chains.setdefault(words[0][1:], Chain())
        chain.policy, chain.place = words[1], place
    elif words[0] in ("-P", "--policy") and len(words) > 2:
        chain = chains.setdefault(words[1], Chain())
        chain.policy, chain.place = words[2], place
    elif words[0] in ("-N", "--new-chain") and len(words) > 1:
        chains.setdefault(words[1], Chain())
    elif words[0] in ("-A", "--append") and len(words) > 1:
        chains.setdefault(words[1], Chain()).rules.append((words[2:], place))
    elif words[0] in ("-I", "--insert") and len(words) > 1:
        rest = words[3:] if len(words) > 2 and words[2].isdigit() else words[2:]
        at = int(words[2]) - 1 if len(words) > 2 and words[2].isdigit() else 0
        chains.setdefault(words[1], Chain()).rules.insert(at, (rest, place))
    elif words[0] in ("-F", "--flush"):
        for name in words[1:2] or list(chains):
            chains.setdefault(name, Chain()).rules.clear()


def _chain(name: str, chains: dict[str, Chain], port: int, known: dict[str, Verdict | None]) -> Verdict | None:
    """The verdict of a chain, None when it has none; *known* are those that were followed, or are just now."""
    if name not in known and name in chains:
        known[name] = None
        if len(known) <= CHAINS:
            known[name] = _followed(name, chains, port, known)
    return known.get(name)


def _followed(name: str, chains: dict[str, Chain], port: int, known: dict[str, Verdict | None]) -> Verdict | None:
    chain = chains[name]
    for words, place in chain.rules:
        met, target = _rule(words, port)
        if not met or not target:
            continue
        if target == "ACCEPT":
            return ACCEPTED
        if target in ("DROP", "REJECT", "TARPIT"):
            return Verdict(False, place)
        if target == "RETURN":
            break
        if (found := _chain(target, chains, port, known)) is not None:
            return found
    if chain.policy in ("DROP", "REJECT"):
        return Verdict(False, chain.place)
    return ACCEPTED if name == "INPUT" else None


def _rule(words: list[str], port: int) -> tuple[bool, str]:
    """Whether all matches are met, and the target."""
    met, wrong, left = True, False, list(words)
    while left:
        word = left.pop(0)
        if word == "!":
            wrong = True
            continue
        values: list[str] = []
        while left and not re.match(r"-\D", left[0]) and not (left[0] == "!" and values):
            values.append(left.pop(0))
        if values[:1] == ["!"]:  # the old way round: -s ! 10.0.0.0/8
            wrong, values = True, values[1:]
        if word in ("-j", "--jump", "-g", "--goto"):
            return met, values[0] if values else ""
        if (holds := _match(word, values, port)) is not None:
            met = met and holds != wrong
        wrong = False
    return met, ""


_NEUTRAL = ("--limit", "--limit-burst", "--comment", "-m", "--match", "--syn", "--set", "--name", "--mask", "-c", "-4")


def _match(word: str, values: list[str], port: int) -> bool | None:
    """Whether a match is met; None for what is none."""
    value = values[0] if values else ""
    if word in ("-p", "--protocol", "--proto"):
        return value.lower() in ("tcp", "all", "6", "0")
    if word in ("--dport", "--dports", "--destination-port", "--destination-ports", "--ports"):
        return in_ports(value.split(","), port)
    if word in ("-i", "--in-interface"):
        return not is_virtual(value)
    if word in ("-s", "--source", "--src"):
        return any(in_network(part) for part in value.split(","))
    if word in ("-d", "--destination", "--dst"):
        return value in ("0.0.0.0/0", "0/0", "anywhere")
    if word in ("--state", "--ctstate"):
        return "NEW" in value.upper().split(",")
    if word == "--tcp-flags":
        return [flags.upper() for flags in values[1:2]] == ["SYN"]
    if word == "--dst-type":
        return value.upper() == "LOCAL"
    return None if word in _NEUTRAL or not word.startswith("-") else False
