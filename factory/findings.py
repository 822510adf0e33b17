"""What checks and boot tests found on an image: the document ``findings.json``, and ``factory check --format json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, model_validator

Status = Literal["pass", "warn", "fail", "skip"]
Severity = Literal["error", "warn", "info"]

Digest = Annotated[
    str,
    BeforeValidator(lambda value: value.removeprefix("sha256:") if isinstance(value, str) else value),
    Field(pattern=r"^[0-9a-f]{64}$", description="sha256, 64 hexadecimal digits"),
]


class Model(BaseModel):
    """Unknown fields are an error when a document is made, and ignored when one is read."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False
    )


class Summary(Model):
    """How many findings have each status; those of severity ``info`` are told apart from the warnings."""

    passed: NonNegativeInt = Field(0, alias="pass")
    warn: NonNegativeInt = 0
    info: NonNegativeInt = 0
    fail: NonNegativeInt = 0
    skip: NonNegativeInt = 0

    @property
    def words(self) -> str:
        """For one line: ``133 passed, 1 warned, 2 failed``; what was skipped or is for information is left out."""
        more = [(self.warn, "warned"), (self.fail, "failed")]
        return ", ".join([f"{self.passed} passed", *(f"{count} {word}" for count, word in more if count)])

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Summary:
        """The counts of *findings*."""
        counts = {"pass": 0, "warn": 0, "info": 0, "fail": 0, "skip": 0}
        for finding in findings:
            counts["info" if finding.only_told else finding.status] += 1
        return cls.model_validate(counts)


class Finding(Model):
    """What one rule found on one subject. The evidence of a secret is its place, kind and length, never the value."""

    rule: str
    status: Status
    severity: Severity
    subject: str = Field(description="what was looked at: a file of the image, the image, a boot")
    evidence: str = ""
    why: str = Field("", description="why the rule is there")
    fix: str = ""
    source: str = Field("", description="who says so: a URL or a document")

    @property
    def only_told(self) -> bool:
        """Whether it is for information: nothing is wrong enough for a warning."""
        return self.status == "warn" and self.severity == "info"

    @property
    def line(self) -> str:
        """The rule, what was looked at and the first line of the evidence; the subject is not told twice."""
        first = self.evidence.split("\n", 1)[0][:300]
        named = self.subject == "image" or first.startswith(self.subject)
        return f"{self.rule}: {first}" if named else f"{self.rule}, {self.subject}: {first}"

    @model_validator(mode="after")
    def _only_errors_fail(self) -> Self:
        if self.status == "fail" and self.severity != "error":
            raise ValueError("only a rule of severity 'error' can fail; a broken one of less has the status 'warn'")
        return self


class Findings(Model):
    """``findings.json``: what the checks and boot tests found on one image."""

    schema_: Literal[1] = Field(1, alias="schema")
    image: str
    sha256: Digest | None = Field(
        description="of the file; null when it could not be read, or is so large that it was not read whole"
    )
    target: str
    findings: tuple[Finding, ...] = ()

    @property
    def summary(self) -> Summary:
        """How many findings have each status, and how many of severity info only tell something."""
        return Summary.of(self.findings)


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those of *findings* that refuse the image."""
    return [finding for finding in findings if finding.status == "fail"]
