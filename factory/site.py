"""Where a build happens: what every stage of it works on and with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.bases import Base
    from factory.console import Console
    from factory.hypervisor.hypervisor import Hypervisor
    from factory.plan import Plan
    from factory.workspace import Workspace


@dataclass(frozen=True)
class Site:
    """One build: its plan, the base it starts from, its folders, its machines, and where it tells of itself."""

    plan: Plan
    base: Base
    workspace: Workspace
    hypervisor: Hypervisor
    console: Console
