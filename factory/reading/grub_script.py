"""The language of grub.cfg: a text becomes commands, conditions, loops and blocks; nothing is run here.

Words keep their parts until they are needed, because variables are expanded when a command runs. The text comes from an
image that may be hostile: ScriptError is raised for what is nested too deeply or does not end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

DEPTH = 40  # blocks in blocks

_NAME = re.compile(r"\{(\w+|[?*#@])\}|(\w+|[?*#@])")
_CLOSERS = frozenset(("fi", "else", "elif", "then", "do", "done", "}"))


class ScriptError(Exception):
    """The text is no script of GRUB; the message says why."""


@dataclass(frozen=True)
class Part:
    """A piece of a word: literal text, or the name of a *variable*. A *quoted* variable is never split into words."""

    text: str
    variable: bool = False
    quoted: bool = False


@dataclass(frozen=True)
class Word:
    """A word before its variables are expanded."""

    parts: tuple[Part, ...]

    @property
    def plain(self) -> str:
        """The word when it has neither quotes nor variables, otherwise nothing."""
        return "".join(part.text for part in self.parts) if not any(p.variable or p.quoted for p in self.parts) else ""


@dataclass(frozen=True)
class Command:
    """One command. ``menuentry``, ``submenu`` and ``function`` have a *body*."""

    line: int
    words: tuple[Word, ...]
    body: tuple[Statement, ...] | None = None


@dataclass(frozen=True)
class Conditional:
    """``if``: conditions with what follows each; the last condition is empty for ``else``."""

    branches: tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]


@dataclass(frozen=True)
class Loop:
    """``for VARIABLE in WORDS``; ``while`` and ``until`` have no variable."""

    variable: str
    words: tuple[Word, ...]
    body: tuple[Statement, ...]


Statement = Command | Conditional | Loop


@dataclass
class _Token:
    line: int
    word: Word | None  # None: the end of a command


@dataclass
class _Reader:
    text: str
    place: int = 0
    line: int = 1
    tokens: list[_Token] = field(default_factory=list)

    def all(self) -> list[_Token]:
        text = self.text
        while self.place < len(text):
            char = text[self.place]
            if char in "\n;":
                self.tokens.append(_Token(self.line, None))
                self.line += char == "\n"
                self.place += 1
            elif char in " \t\r" or text.startswith("\\\n", self.place):
                self.line += char == "\\"
                self.place += 2 if char == "\\" else 1
            elif char == "#":
                end = text.find("\n", self.place)
                self.place = len(text) if end < 0 else end
            else:
                self.tokens.append(_Token(self.line, self.word()))
        return self.tokens

    def word(self) -> Word:
        parts: list[Part] = []
        plain = ""
        text = self.text
        while self.place < len(text):
            char = text[self.place]
            if char in " \t\r\n;":
                break
            if char == "\\":
                following = text[self.place + 1 : self.place + 2]
                if following == "\n":
                    self.line += 1
                else:
                    plain += following
                self.place += 2
            elif char in "'\"$":
                if plain:
                    parts.append(Part(plain))
                    plain = ""
                parts += self.single() if char == "'" else self.double() if char == '"' else self.variable(quoted=False)
            else:
                plain += char
                self.place += 1
        if plain:
            parts.append(Part(plain))
        return Word(tuple(parts))

    def single(self) -> list[Part]:
        end = self.text.find("'", self.place + 1)
        if end < 0:
            raise ScriptError(f"line {self.line}: a quote does not end")
        content = self.text[self.place + 1 : end]
        self.line += content.count("\n")
        self.place = end + 1
        return [Part(content, quoted=True)]

    def double(self) -> list[Part]:
        start, self.place = self.line, self.place + 1
        parts = [Part("", quoted=True)]
        content = ""
        while True:
            char = self.text[self.place : self.place + 1]
            if not char:
                raise ScriptError(f"line {start}: a quote does not end")
            if char == '"':
                self.place += 1
                return [*parts, Part(content, quoted=True)]
            if char == "$":
                parts += [Part(content, quoted=True), *self.variable(quoted=True)]
                content = ""
                continue
            if char == "\\" and self.text[self.place + 1 : self.place + 2] in ("$", '"', "\\"):
                self.place += 1
                char = self.text[self.place]
            self.line += char == "\n"
            content += char
            self.place += 1

    def variable(self, *, quoted: bool) -> list[Part]:
        match = _NAME.match(self.text, self.place + 1)
        if not match:
            self.place += 1
            return [Part("$", quoted=quoted)]
        self.place = match.end()
        return [Part(match[1] or match[2], variable=True, quoted=quoted)]


def parse(text: str) -> tuple[Statement, ...]:
    """The statements of a script. Raises ScriptError."""
    return _Parser(_Reader(text).all()).statements(0, top=True)


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0

    def statements(self, depth: int, *, top: bool = False) -> tuple[Statement, ...]:
        if depth > DEPTH:
            raise ScriptError(f"it is nested more than {DEPTH} deep")
        found: list[Statement] = []
        while (token := self._peek()) is not None:
            if token.word is None:
                self._place += 1
            elif token.word.plain in _CLOSERS:
                if not top:
                    return tuple(found)
                self._place += 1  # GRUB would stop here; what follows is looked at all the same
            else:
                found.append(self._statement(depth))
        if not top:
            raise ScriptError("a block does not end")
        return tuple(found)

    def _peek(self) -> _Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _next_word(self) -> str:
        while (token := self._peek()) is not None and token.word is None:
            self._place += 1
        if token is None or token.word is None:
            raise ScriptError("a block does not end")
        self._place += 1
        return token.word.plain

    def _expect(self, *words: str) -> str:
        found = self._next_word()
        if found not in words:
            raise ScriptError(f"{words[0]!r} is missing before {found[:40]!r}")
        return found

    def _statement(self, depth: int) -> Statement:
        token = self._tokens[self._place]
        assert token.word is not None
        name = token.word.plain
        if name == "if":
            self._place += 1
            return self._conditional(depth)
        if name in ("while", "until"):
            self._place += 1
            self.statements(depth + 1)
            self._expect("do")
            body = self.statements(depth + 1)
            self._expect("done")
            return Loop("", (), body)
        words: list[Word] = []
        while (following := self._peek()) is not None and following.word is not None:
            self._place += 1
            if following.word.plain == "{" and words:
                body = self.statements(depth + 1)
                self._expect("}")
                return Command(token.line, tuple(words), body)
            if following.word.plain == "}" and words:  # { command } on one line
                self._place -= 1
                break
            words.append(following.word)
        if name == "for" and len(words) > 2:
            self._expect("do")
            body = self.statements(depth + 1)
            self._expect("done")
            return Loop(words[1].plain, tuple(words[3:]), body)
        # The brace of a block may be on the next line.
        if name in ("menuentry", "submenu", "function") and self._brace_follows():
            self._expect("{")
            body = self.statements(depth + 1)
            self._expect("}")
            return Command(token.line, tuple(words), body)
        return Command(token.line, tuple(words))

    def _brace_follows(self) -> bool:
        place = self._place
        while place < len(self._tokens):
            word = self._tokens[place].word
            if word is not None:
                return word.plain == "{"
            place += 1
        return False

    def _conditional(self, depth: int) -> Conditional:
        branches = []
        condition = self.statements(depth + 1)
        while True:
            self._expect("then")
            branches.append((condition, self.statements(depth + 1)))
            word = self._expect("fi", "else", "elif")
            if word == "elif":
                condition = self.statements(depth + 1)
                continue
            if word == "else":
                branches.append(((), self.statements(depth + 1)))
                self._expect("fi")
            return Conditional(tuple(branches))


def options_of(
    words: Sequence[str], values: Sequence[str] = ("class", "id", "users", "hotkey", "source")
) -> tuple[dict[str, str], list[str]]:
    """Options by name, and the other words. Those in *values* take the next word unless they hold a ``=``."""
    options: dict[str, str] = {}
    others: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        match = re.fullmatch(r"--?([A-Za-z][\w-]*)(?:=(.*))?", word)
        if not match:
            others.append(word)
        elif match[2] is None and match[1] in values and left:
            options[match[1]] = left.pop(0)
        else:
            options[match[1]] = match[2] or ""
    return options, others
