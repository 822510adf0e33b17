"""Checks: what a rule looks at in an image. One check a file; :mod:`factory.targets` says which rules use it and how.

A check is a module of this folder with a docstring and

    check(looked, rule) -> Iterator[Problem | Note]

It yields a Problem for everything that is wrong; nothing means pass, and a Note is the evidence of a pass. It raises
NotApplicable when there is nothing that the rule could mean. It never catches Unreadable: what cannot be looked at
becomes a finding that fails, so that silence never passes for "nothing found".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from factory.errors import HostError
from factory.findings import Finding, Severity, Status
from factory.image_file import DISKS, INSTEAD
from factory.inspection import Image, Unreadable
from factory.quoting import escape, quoted
from factory.targets import Rule, Target

if TYPE_CHECKING:
    from factory.archive import Archive
    from factory.image_file import ImageFile

__all__ = ["Looked", "NoGuest", "NotApplicable", "Note", "Problem", "Rule", "run", "without_line", "without_words"]

PROBLEMS = 50  # of one rule that are told one by one
EVIDENCE = 2000  # characters
UNSEEN = "could not look, so not approved"
DEFECT = "A defect of the factory: please report it with the image, or the file that it speaks of"
WHOLE_AGAIN = (
    "See that the image is whole (sha256sum IMAGE, against its source) and holds a Linux system on ext4, XFS or btrfs "
    "without encryption; then check it again"
)
ONE_FILE = (
    "Mend, remove or reinstall in the guest what the evidence names; or copy the image again, if it was damaged on its "
    "way (compare sha256sum IMAGE with its source)"
)
ROOT_RULE = "GEN-G01"  # what cannot be looked at as a whole is told once, by the rule that wants a system
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. *subject* is a path of the guest or ``image``; *evidence* the very path and line.

    Of a secret the evidence is path, line number, kind and length, never the value. *warn* makes it only a warning.
    *fix* is the command that mends this one, where it is not the rule's; names of the guest in it are :func:`quoted`.
    """

    subject: str
    evidence: str
    warn: bool = False
    fix: str | None = None


@dataclass(frozen=True)
class Note:
    """What was seen when nothing is wrong."""

    evidence: str


def without_line(path: str, line: int) -> str:
    """The command that empties a line of a file; the numbers of the others stay, so several may follow each other."""
    return f"sed -i '{line}s/.*//' {quoted(path)}"


def without_words(words: str) -> str:
    """How to take *words* off the kernel's command line, of the boot entries that are there and of those made next."""
    return (
        f"Take {words} out of GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub (Debian) or "
        "grub2-mkconfig -o /boot/grub2/grub.cfg (SUSE); out of /etc/update-extlinux.conf and update-extlinux (Alpine); "
        f"grubby --update-kernel=ALL --remove-args={quoted(words)} (RHEL)"
    )


class NotApplicable(Exception):
    """The rule means nothing for this image; the message says why."""


class NoGuest(Exception):
    """No file of the guest can be looked at, as another finding says; the message says why."""


class Looked:
    """One image, as checks look at it for one target.

    *file* is what the image file itself tells (of the disk in an *archive*, when it came in one), *target* the cloud,
    *allow_users* the accounts that may be there beside the distribution's own, *required_disk* what disk (bytes) an
    instance is required to have, 0 when nobody says; *firmware* the one that will be asked for (bios or uefi), empty
    when nobody says; *sha256* of the file, empty when it is not known, None when a file of that size is not
    read whole.
    """

    def __init__(
        self,
        file: ImageFile,
        target: Target,
        opened: Image | None,
        *,
        unseen: str = "",
        archive: Archive | None = None,
        allow_users: Sequence[str] = (),
        required_disk: int = 0,
        firmware: str = "",
        sha256: str | None = "",
        known: dict[object, object] | None = None,
    ) -> None:
        """*unseen* says why *opened* is None. *known* is shared between targets of the same image."""
        self.file = file
        self.target = target
        self.archive = archive
        self.allow_users = tuple(allow_users)
        self.required_disk = required_disk
        self.firmware = firmware
        self.sha256 = sha256
        self._opened = opened
        self._known: dict[object, object] = {} if known is None else known
        self.unseen = unseen
        self.no_root = unseen
        if opened is not None:
            try:
                opened.mounts()
            except Unreadable as error:
                self.no_root = f"{error.cause or error.message}"

    @property
    def no_disk(self) -> str:
        """What to do about a file that is no disk image which may be opened; empty for one that is."""
        if self.archive is not None and self.file.format == "gzip" and self.archive.kind != "gzip":
            return INSTEAD["tar"]
        return self.file.instead

    @property
    def no_header(self) -> str:
        """Why there is no header of a qcow2 to judge."""
        return "its qcow2 header cannot be read" if self.file.format == "qcow2" else "it is no qcow2 image"

    @property
    def instead(self) -> str:
        """What to do where nothing, or not all, can be looked at."""
        return self.no_disk or (WHOLE_AGAIN if self.no_root else ONE_FILE)

    @property
    def disk(self) -> Image:
        """The disk inside the image: its partition table and partitions, whatever is on them. Raises NoGuest."""
        if self._opened is None:
            raise NoGuest(self.unseen)
        return self._opened

    @property
    def image(self) -> Image:
        """The guest's files, from its root. Raises NoGuest when no root was found."""
        if self.no_root:
            raise NoGuest(self.no_root)
        return self.disk

    def know(self, reader: Callable[[Image], T]) -> T:
        """What *reader* makes of the guest's files; read once, whoever asks. Raises what the reader raises."""
        if reader not in self._known:
            try:
                self._known[reader] = reader(self.image)
            except Unreadable as error:
                self._known[reader] = error
        found = self._known[reader]
        if isinstance(found, Unreadable):
            raise found
        return cast(T, found)


class _Check(Protocol):
    def check(self, looked: Looked, rule: Rule) -> Iterator[Problem | Note]: ...


def run(rules: Iterable[Rule], looked: Looked) -> list[Finding]:
    """What *rules* find, in their order: at least one finding each. Nothing that is wrong with an image raises."""
    findings = [finding for rule in rules for finding in _applied(rule, looked)]
    if looked.no_root and not any(finding.status == "fail" for finding in findings):
        # However the rules are set, this is never an approval.
        findings.append(unseen(None, looked.no_root, looked.instead))
    return findings


def about(check: str) -> str:
    """The first line of a check's docstring: what it looks at."""
    return (importlib.import_module(f"factory.checks.{check}").__doc__ or "").strip().split("\n")[0]


def _applied(rule: Rule, looked: Looked) -> list[Finding]:
    rule = _suited(rule, looked)
    check = cast(_Check, importlib.import_module(f"factory.checks.{rule.check}"))
    problems: list[Problem] = []
    notes: list[str] = []
    try:
        for found in islice(check.check(looked, rule), PROBLEMS + 1):
            if isinstance(found, Note):
                notes.append(found.evidence)
            else:
                problems.append(found)
    except NotApplicable as error:
        return [_finding(rule, "skip", "image", str(error))]
    except NoGuest as error:
        return [_finding(rule, "skip", "image", f"not looked at: {error}")]
    except Unreadable as error:
        return [*(_broken(rule, problem) for problem in problems), unseen(rule, str(error), looked.instead)]
    except (HostError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - a hostile guest must not end the verdict on it by a defect of a check
        return [
            *(_broken(rule, problem) for problem in problems),
            unseen(rule, f"a defect of the check {rule.check}: {type(error).__name__}: {error}", DEFECT),
        ]
    if not problems:
        return [_finding(rule, "pass", "image", "\n".join(notes) or rule.title)]
    told = [_broken(rule, problem) for problem in problems[:PROBLEMS]]
    if len(problems) > PROBLEMS:
        told.append(_broken(rule, Problem("image", f"there are more than these {PROBLEMS}")))
    return told


def _suited(rule: Rule, looked: Looked) -> Rule:
    """*rule* with a fix for this very file: the format is known, and what is no disk cannot be converted."""
    if "-f FORMAT" not in rule.fix:
        return rule
    known = looked.file.format in DISKS
    fix = rule.fix.replace("-f FORMAT", f"-f {looked.file.format}") if known else looked.no_disk
    return rule.model_copy(update={"fix": fix})


def _broken(rule: Rule, problem: Problem) -> Finding:
    severity: Severity = "warn" if problem.warn and rule.severity == "error" else rule.severity
    status: Status = "fail" if severity == "error" else "warn"
    return _finding(rule, status, problem.subject, problem.evidence, severity, problem.fix)


def unseen(rule: Rule | None, why: str, fix: str = WHOLE_AGAIN) -> Finding:
    """The finding that *rule* could not look; without a rule, that nothing in the image could be looked at."""
    evidence = _clean(f"{UNSEEN}: {why}")
    if rule is None:
        return Finding(
            rule=ROOT_RULE,
            status="fail",
            severity="error",
            subject="image",
            evidence=evidence,
            why="What cannot be looked at may hold anything",
            fix=fix,
            source="",
        )
    return _finding(rule, "fail", "image", evidence, "error", fix)


def _finding(
    rule: Rule,
    status: Status,
    subject: str,
    evidence: str,
    severity: Severity | None = None,
    fix: str | None = None,
) -> Finding:
    broken = status in ("warn", "fail")
    # Only a rule's own text is a template: a fix of a check may hold {subject} as part of a name in the guest.
    fix = fix or rule.fix.replace("{subject}", quoted(subject))
    return Finding(
        rule=rule.id,
        status=status,
        severity=severity or rule.severity,
        subject=escape(subject),
        evidence=_clean(evidence),
        why=rule.why,
        fix="\n".join(map(escape, fix.splitlines())) if broken else "",
        source=rule.source,
    )


def _clean(evidence: str) -> str:
    """*evidence* of the guest with nothing that a terminal would act on."""
    lines = "\n".join(escape(line) for line in evidence.splitlines())
    return lines if len(lines) <= EVIDENCE else f"{lines[: EVIDENCE - 1]}…"
