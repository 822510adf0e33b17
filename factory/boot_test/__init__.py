"""Boot tests: the finished image is started as a cloud would start it, and must prove itself.

Each boot runs on a throw-away overlay, with a fresh identity, a larger disk, and a network that leads nowhere. The
full test
is two boots side by side that differ in all that may differ between clouds (firmware, disk bus, chipset, slot of the
NIC,
datasource), and a reboot of the first; the quick one is the first boot alone. What does not hold becomes a finding.
"""

from factory.boot_test.run import BootTest, Outcome, memory_for, run

__all__ = ["BootTest", "Outcome", "memory_for", "run"]
