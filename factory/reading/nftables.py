"""What rules of nftables would do with a connection from outside: its files, with sets, variables and verdict maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from factory.reading.interfaces import is_virtual
from factory.reading.packet import ACCEPTED, CHAINS, Chain, Verdict, in_network, in_ports

SHOWN = 200  # characters of a line
WORDS = 5_000  # of one rule, or in one variable


def verdict(tokens: Sequence[tuple[str, str]], port: int) -> Verdict:
    """The verdict of nftables' *tokens*, each (word, place), as :func:`words` gives them."""
    tables = _Nftables(tokens)
    for chain in tables.base:
        found = tables.follow(chain, port, {})
        if found is None and tables.chains[chain].policy == "drop":
            found = Verdict(False, tables.chains[chain].place)
        if found is not None and not found.accepted:
            return found
    return ACCEPTED


_TOKEN = re.compile(r'"[^"]*"|[{};]|==|!=|[^\s{};"=!]+|[=!]')


def words(path: str, content: str, first: int = 1) -> Iterator[tuple[str, str]]:
    """The words of an nftables file, each with its place; the end of a line is ``;``, comments are left out.

    *first* is the number of the first line.
    """
    for number, line in enumerate(content.splitlines(), first):
        bare = re.sub(r'("[^"]*")|#.*', lambda match: match[1] or "", line)
        place = f"{path}:{number}: {line.strip()[:SHOWN]}"
        more = bare.rstrip().endswith("\\")
        yield from ((word, place) for word in _TOKEN.findall(bare.rstrip().removesuffix("\\")))
        if not more:
            yield ";", place


class _Nftables:
    """Tables, chains, sets and variables; *base* are the chains that see what comes in, by priority."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, list[str]] = {}
        self._variables: dict[str, list[str]] = {}
        self._hooks: list[tuple[int, int, str]] = []
        self._tokens = list(tokens)
        self._at = 0
        while self._at < len(self._tokens):
            self._statement("")
        self.base = [chain for _, _, chain in sorted(self._hooks)]

    def _statement(self, table: str) -> None:
        line = self._line()
        words_ = [word for word, _ in line]
        if words_[:1] in (["add"], ["create"], ["insert"]):
            inserted, words_ = words_[0] == "insert", words_[1:]
        else:
            inserted = False
        opened = bool(words_) and words_[-1] == "{"
        family = words_[1:2] and words_[1] in ("ip", "ip6", "inet", "arp", "bridge", "netdev")
        if words_[:1] == ["define"] and "=" in words_:
            value = words_[words_.index("=") + 1 :]
            self._variables[f"${words_[1]}"] = value if not opened else ["{", *self._braced()[:WORDS], "}"]
        elif words_[:1] == ["flush"] and words_[1:2] == ["ruleset"]:
            self.chains, self.sets, self._hooks = {}, {}, []
        elif words_[:1] == ["table"] and opened:
            name = " ".join(words_[1:-1])
            while self._at < len(self._tokens) and not self._ends():
                self._statement(name if family else f"ip {name}")
        elif words_[:1] == ["chain"] and opened:
            name = f"{table} {words_[1]}" if table else " ".join(words_[1:-1])
            self._chain(name)
        elif words_[:1] in (["set"], ["map"]) and opened:
            self._set(f"{table} {words_[1]}" if table else " ".join(words_[1:-1]))
        elif words_[:1] == ["rule"] and len(words_) > 3:
            length = 4 if family else 3
            chain = self.chains.setdefault(" ".join(words_[1:length] if family else ["ip", *words_[1:length]]), Chain())
            rule = (words_[length:] + (self._braced_words() if opened else []), line[0][1])
            chain.rules.insert(0 if inserted else len(chain.rules), rule)
        elif opened:
            self._braced()

    def _line(self) -> list[tuple[str, str]]:
        """Words up to a ``;`` or the first brace."""
        found: list[tuple[str, str]] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token[0] == ";" or token[0] == "}":
                if token[0] == "}" and found:
                    self._at -= 1
                break
            found.append(token)
            if token[0] == "{":
                break
        return found

    def _ends(self) -> bool:
        while self._at < len(self._tokens) and self._tokens[self._at][0] == ";":
            self._at += 1
        if self._at < len(self._tokens) and self._tokens[self._at][0] == "}":
            self._at += 1
            return True
        return self._at >= len(self._tokens)

    def _braced(self) -> list[str]:
        """What stands up to the closing brace, without the braces and commas."""
        depth = 1
        found: list[str] = []
        while self._at < len(self._tokens) and depth:
            word = self._tokens[self._at][0]
            self._at += 1
            depth += (word == "{") - (word == "}")
            if word not in (";", "{", "}"):
                found += [part for part in word.split(",") if part]
        return found

    def _braced_words(self) -> list[str]:
        inner = self._braced()
        rest = self._line()
        return [",".join(inner), "}", *(word for word, _ in rest)]

    def _set(self, name: str) -> None:
        inner = self._braced()
        self.sets[name] = inner[inner.index("elements") + 1 :] if "elements" in inner else []

    def _chain(self, name: str) -> None:
        chain = self.chains.setdefault(name, Chain())
        while self._at < len(self._tokens) and not self._ends():
            line = self._line()
            words_ = [word for word, _ in line]
            while words_ and words_[-1] == "{":
                words_ += self._braced_words()
            if not words_:
                continue
            if words_[0] == "type" and "hook" in words_:
                hook = words_[words_.index("hook") + 1]
                priority = words_[words_.index("priority") + 1] if "priority" in words_[:-1] else "0"
                if hook in ("input", "prerouting", "ingress") and not name.startswith(("ip6 ", "arp ", "bridge ")):
                    order = ("ingress", "prerouting", "input").index(hook)
                    self._hooks.append((order, _priority(priority), name))
                chain.policy = "accept"
                if "policy" in words_[:-1]:
                    self._policy(chain, words_[words_.index("policy") + 1], line[0][1])
            elif words_[0] == "policy" and len(words_) > 1:
                self._policy(chain, words_[1], line[0][1])
            else:
                chain.rules.append((words_, line[0][1]))

    def _policy(self, chain: Chain, policy: str, place: str) -> None:
        chain.policy, chain.place = policy, place

    def follow(self, name: str, port: int, known: dict[str, Verdict | None]) -> Verdict | None:
        """The verdict of the rules of a chain; None when they end without one. *known* are those that were followed."""
        if name not in known and name in self.chains:
            known[name] = None
            if len(known) <= CHAINS:
                known[name] = self._followed(name, port, known)
        return known.get(name)

    def _followed(self, name: str, port: int, known: dict[str, Verdict | None]) -> Verdict | None:
        for rule, place in self.chains[name].rules:
            verdict = self._rule(name.rpartition(" ")[0], rule, port)
            if verdict == "accept":
                return ACCEPTED
            if verdict in ("drop", "reject"):
                return Verdict(False, place)
            if verdict == "return":
                return None
            if verdict.startswith(("jump ", "goto ")):
                found = self.follow(f"{name.rpartition(' ')[0]} {verdict[5:]}", port, known)
                if found is not None or verdict.startswith("goto "):
                    return found
        return None

    def _rule(self, table: str, rule: Sequence[str], port: int) -> str:
        """accept, drop, reject, return, ``jump X``, or nothing."""
        left: list[str] = []
        for word in rule[:WORDS]:
            left += self._variables.get(word, [word])
            if len(left) > WORDS:
                return ""
        while left:
            word = left.pop(0)
            if word in ("accept", "drop", "reject", "return"):
                return word
            if word in ("jump", "goto"):
                return f"{word} {left.pop(0) if left else ''}"
            if word in ("counter", "notrack"):
                while left[:1] in (["packets"], ["bytes"]):
                    left[:2] = []
            elif word in ("log", "comment"):
                while left and (left[0] in ("prefix", "level", "flags", "group", "all") or left[0].startswith('"')):
                    left[: 2 if left[0] in ("prefix", "level", "flags", "group") else 1] = []
            elif word == "limit":
                over = "over" in left[:3]
                while left and left[0] not in ("accept", "drop", "reject", "jump", "goto", "log", "counter", "return"):
                    left.pop(0)
                if over:
                    return ""
            else:
                verdict = self._match(table, word, left, port)
                if verdict is not True:
                    return verdict or ""
        return ""

    def _match(self, table: str, word: str, left: list[str], port: int) -> bool | str:
        """Whether a match is met, or the verdict of a verdict map."""
        if word in ("meta", "ct", "tcp", "th", "udp", "ip", "ip6", "icmp", "icmpv6", "fib") and left:
            word = f"{word} {left.pop(0)}"
        if word == "fib daddr" and left[:1] == ["type"]:
            left.pop(0)
            word = "fib daddr type"
        wrong = left[:1] == ["!="]
        if left[:1] in (["!="], ["=="], ["eq"], ["ne"]):
            wrong = left.pop(0) in ("!=", "ne")
        if word == "tcp flags":
            return self._flags(left) != wrong
        mapped = left[:1] == ["vmap"]
        if mapped:
            left.pop(0)
        values = self._values(table, left)
        if mapped:
            return self._mapped(word, values, port)
        holds: bool = self._holds(word, values, port)
        return holds != wrong

    def _values(self, table: str, left: list[str]) -> list[str]:
        if left[:1] == ["{"]:
            end = left.index("}") if "}" in left else len(left)
            inner = [part for word in left[1:end] for part in word.split(",") if part]
            left[: end + 1] = []
            found = [part for word in inner for part in self._variables.get(word, [word])]
            return [part for part in found if part not in "{}"]
        if not left:
            return []
        word = left.pop(0)
        if word.startswith("@"):
            return self.sets.get(f"{table} {word[1:]}", [])
        values = [word]
        while values[-1].endswith(",") and left:
            values.append(left.pop(0))
        found = [part for value in values for part in value.split(",") if part]
        return found

    def _flags(self, left: list[str]) -> bool:
        said = []
        while left and left[0] not in ("accept", "drop", "reject", "jump", "goto", "counter", "log", "return", "limit"):
            said.append(left.pop(0))
        return "".join(said).rpartition("=")[2].rpartition(")")[2] in ("syn", "{syn}")

    def _mapped(self, word: str, values: list[str], port: int) -> bool | str:
        """``{ established : accept, new : jump input_new }``; the elements come as words."""
        key, verdict = "", ""
        text = re.sub(r"\s*:\s*", ":", " ".join(values))
        for part in re.findall(r"\S+:(?:jump \S+|goto \S+|\S+)", text):
            key, _, verdict = part.rpartition(":")
            if key and self._holds(word, [key], port):
                return str(verdict)
        return True

    def _holds(self, word: str, values: list[str], port: int) -> bool:
        bare = [value.strip('"') for value in values]
        if word in ("iif", "iifname", "meta iif", "meta iifname"):
            return any(not is_virtual(value) for value in bare)
        if word == "ct state":
            return "new" in bare
        if word in ("tcp dport", "th dport"):
            return in_ports(bare, port)
        if word in ("meta l4proto", "ip protocol"):
            return any(value in ("tcp", "6") for value in bare)
        if word == "ip saddr":
            return any(in_network(value) for value in bare)
        if word == "meta nfproto":
            return "ipv4" in bare
        if word == "meta pkttype":
            return "host" in bare or "unicast" in bare
        if word == "fib daddr type":
            return "local" in bare
        return False


def _priority(word: str) -> int:
    names = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
    return int(word) if re.fullmatch(r"-?\d+", word) else names.get(word, 0)
