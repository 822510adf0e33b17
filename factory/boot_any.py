"""``factory test``: the boot test of any image file, whoever built it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory import boot_test, boot_ways, disk, given_file, image_format, inspection, settings
from factory.errors import ImageRefused
from factory.files import touching
from factory.findings import Findings
from factory.hypervisor import accelerator as accelerators
from factory.hypervisor.hypervisor import Hypervisor
from factory.workspace import Workspace, reap

if TYPE_CHECKING:
    from factory.console import Console
    from factory.recipe import Recipe


def test_image(
    image: Path,
    *,
    recipe: Recipe | None,
    user: str,
    mode: Literal["full", "quick"],
    accelerator: str,
    connect: str,
    logs: Path | None,
    console: Console,
) -> tuple[boot_test.Outcome, Findings]:
    """Boot *image* as a cloud would; it is neither changed nor trusted. Raises UsageError when there is no such
    file."""
    given_file.require(image)
    if logs:
        with touching(logs, "Making the folder for logs"):
            logs.mkdir(parents=True, exist_ok=True)
    found = image_format.detect(image, failure=ImageRefused, shown=str(image))
    chosen = accelerators.choose(accelerator)
    state = settings.state_dir()
    reap(state)
    workspace = Workspace.create("test", "0" * 8, output=state / "tests", state=state)
    try:
        subject = image.absolute()
        if found.name != "qcow2":
            subject = workspace.work / "image.qcow2"
            disk.convert(image, found.name, subject, "qcow2")
        with inspection.open_image(subject, format="qcow2") as view:
            ways = boot_ways.read(view)
        tested = boot_test.BootTest(
            image=subject,
            default_user=user or ways.user or "cloud-user",
            mode=mode,
            uefi="uefi" in ways.firmware,
            bios="bios" in ways.firmware,
            recipe=recipe,
            memory=boot_test.memory_for(recipe),
        )
        with Hypervisor(workspace.work, chosen, connect) as hypervisor:
            try:
                outcome = boot_test.run(tested, hypervisor, workspace.work, workspace.partial, console)
            finally:  # they are most wanted when it broke off
                if logs:
                    with touching(logs, "Copying the logs"):
                        for log in workspace.partial.glob("console-*.log"):
                            shutil.copy(log, logs)
    finally:
        workspace.discard()
    document = Findings.model_validate(
        {
            "schema": 1,
            "image": image.name,
            "sha256": disk.sha256(image),
            "target": "generic",
            "findings": outcome.findings,
        }
    )
    return outcome, document
