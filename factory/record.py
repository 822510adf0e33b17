"""What a build says of itself: its findings and its manifest, and what may be published of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from factory import __version__, disk, manifest, mirror
from factory.errors import ImageRefused
from factory.findings import Finding, Findings, Summary, failed
from factory.publish import Artefact

if TYPE_CHECKING:
    from factory.console import StageRecord
    from factory.customise import Customised
    from factory.site import Site


@dataclass(frozen=True)
class Record:
    """A build whose image is finished: what was made of *site*, and how it was found. *started* is in UTC."""

    site: Site
    customised: Customised
    image: Path
    sha256: str
    findings: Sequence[Finding]
    boots: Sequence[manifest.BootEntry]
    boot_test: str  # full, quick or none, as asked for
    tools: Mapping[str, str]  # versions, by name
    started: datetime

    def write_findings(self) -> None:
        """``findings.json``; also of an image that they refuse."""
        document = Findings.model_validate(
            {
                "schema": 1,
                "image": self.image.name,
                "sha256": self.sha256,
                "target": ",".join(target.name for target in self.site.plan.targets) or "generic",
                "findings": tuple(self.findings),
            }
        )
        self._write("findings.json", document)

    def write_manifest(self) -> None:
        """``manifest.json``, of an image that is good."""
        self._write("manifest.json", self._manifest())

    def _write(self, name: str, document: Findings | manifest.Manifest) -> None:
        secrets = (*self.site.plan.recipe.secrets, *mirror.proxy_secrets())
        manifest.write(self.image.parent / name, document, secrets=secrets)

    def _manifest(self) -> manifest.Manifest:
        info = disk.info(self.image, "qcow2")
        plan, base, recipe, console = self.site.plan, self.site.base, self.site.plan.recipe, self.site.console
        return manifest.Manifest.model_validate(
            {
                "schema": 1,
                "factory": __version__,
                "build_id": self.site.workspace.build_id,
                "key": plan.key,
                "architecture": recipe.architecture,
                "recipe": {
                    "name": recipe.name,
                    "version": recipe.version,
                    "digest": plan.digest,
                    "file": recipe.file.name,
                    "description": recipe.description,
                },
                "base": {
                    "name": str(base.facts.get("name") or base.name),  # of a file without its path
                    "kind": base.kind,
                    "digest": base.sha256,
                    "created": base.created,
                    "distribution": str(base.facts.get("distribution", "")),
                    "kernel": str(base.facts.get("kernel", "")),
                    "older_packages": tuple(map(str, base.facts.get("older_packages", ()))),
                },
                "started": self.started,
                "ended": max(datetime.now(UTC), self.started),  # the clock may have been set back meanwhile
                "accelerator": self.site.hypervisor.accelerator.name,
                "tools": {**self.tools, "factory": __version__},
                "stages": tuple(map(self._stage, console.timeline(console.outermost()))),
                "packages": tuple(manifest.PackageEntry(**package) for package in self.customised.packages),
                "image": {
                    "file": self.image.name,
                    "format": "qcow2",
                    "size": self.image.stat().st_size,
                    "virtual_size": info.virtual_size,
                    "sha256": self.sha256,
                    "compression": info.compression,
                },
                "targets": tuple(target.name for target in plan.targets),
                "requirements": dict(recipe.requirements),
                "checks": {
                    "ignore": recipe.checks.ignore,
                    "allow_users": tuple(recipe.checks.allow_users),
                    "required_disk": recipe.requirements.disk or recipe.disk,
                },
                "findings": Summary.of(self.findings),
                "boots": tuple(self.boots),
                "boot_test": self.boot_test if self.boots else "none",
                "properties": dict(recipe.properties),
            }
        )

    def _stage(self, record: StageRecord) -> manifest.StageEntry:
        base = self.site.base
        if record.path == f"{self.site.plan.recipe.name}/base":
            digest = base.entry.key.rpartition("-")[2]  # before it stands the name, which can be a path
            return manifest.StageEntry.of(record, key=digest, cache="hit" if base.cached else "miss", why=base.why)
        use = next((use for use in self.customised.uses if use.name == record.name), None)
        if use:
            return manifest.StageEntry.of(record, key=use.key, cache=use.cache, why=use.why, expires=use.expires)
        hit = record.state == "cached"
        return manifest.StageEntry.of(record, cache="hit" if hit else "none", why=record.note if hit else "")


def artefact(site: Site, image: Path) -> Artefact:
    """What is to be published of a build, as far as it is known before the boot tests."""
    plan, recipe = site.plan, site.plan.recipe
    boot = site.base.facts.get("boot") or ["bios", "uefi"]
    return Artefact(
        image=image,
        sha256=disk.sha256(image),
        size=image.stat().st_size,
        name=recipe.name,
        version=recipe.version,
        virtual_size=disk.info(image, "qcow2").virtual_size,
        architecture=recipe.architecture,
        build_id=site.workspace.build_id,
        digest=plan.digest,
        description=recipe.description,
        uefi="uefi" in boot,
        bios="bios" in boot,
        properties=recipe.properties,
        requirements=dict(recipe.requirements),
    )


def refuse_failures(findings: Sequence[Finding]) -> None:
    """Raise ImageRefused when any of *findings* failed."""
    if not (bad := failed(findings)):
        return
    first = bad[0]
    raise ImageRefused(
        f"the image was built, but {len(bad)} of {len(findings)} findings refuse it: "
        + ", ".join(dict.fromkeys(finding.rule for finding in bad)),
        cause=first.line,
        hint="findings.json says more",
        command=first.fix,
        output="\n".join(f"{finding.rule} ({finding.subject}): {finding.evidence[:300]}" for finding in bad[:10]),
    )
