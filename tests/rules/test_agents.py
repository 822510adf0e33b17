"""Rules about agents and tools of other clouds and hypervisors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot_files import apk, rpm_ndb, rpm_sqlite
from tests.rule_images import Case, append, benign, cases, defect, edit, prove, write

STATUS = "/var/lib/dpkg/status"
RPM = "/var/lib/rpm/rpmdb.sqlite"
NDB = "/usr/lib/sysimage/rpm/Packages.db"
APK = "/lib/apk/db/installed"
AGENT = "qemu-guest-agent"


def installed(name: str, status: str = "install ok installed") -> str:
    return f"\nPackage: {name}\nStatus: {status}\nVersion: 1\n"


CASES = [
    # GEN-G37: agents of clouds
    defect("GEN-G37", "debian", append(STATUS, installed("google-guest-agent"))),
    defect("GEN-G37", "debian", append(STATUS, installed("waagent-x") + installed("walinuxagent"))),
    defect("GEN-G37", "debian", write("/var/lib/snapd/snaps/amazon-ssm-agent_7993.snap", "hsqs")),
    defect("GEN-G37", "debian", write("/opt/digitalocean/droplet-agent", "x"), related=("ID26",)),
    defect("GEN-G37", "debian", write("/etc/systemd/system/google-guest-agent.service", "[Service]\nExecStart=/x\n")),
    defect("GEN-G37", "debian", write("/etc/waagent.conf", "Provisioning.Agent=auto\n")),
    defect("GEN-G37", "rhel", write(RPM, rpm_sqlite("bash", AGENT, "WALinuxAgent"))),
    defect("GEN-G37", "rhel", write(RPM, rpm_sqlite("bash", AGENT, "oracle-cloud-agent"))),
    defect("GEN-G37", "suse", write(NDB, rpm_ndb("bash", AGENT, "python-azure-agent"))),
    defect("GEN-G37", "alpine", append(APK, apk("amazon-ssm-agent"))),
    benign("GEN-G37", "debian", append(STATUS, installed("google-guest-agent", "deinstall ok config-files")
                                       + installed("google-android-platform") + installed("python3-googleapi"))),
    benign("GEN-G37", "rhel", write("/usr/share/doc/amazon-ssm-agent/README", "x")),
    # GEN-G38: tools of hypervisors
    defect("GEN-G38", "debian", append(STATUS, installed("open-vm-tools"))),
    defect("GEN-G38", "debian", write("/opt/VBoxGuestAdditions-7.0.14/uninstall.sh", "x")),
    defect("GEN-G38", "rhel", write(RPM, rpm_sqlite("bash", AGENT, "hyperv-daemons"))),
    defect("GEN-G38", "alpine", append(APK, apk("virtualbox-guest-additions"))),
    benign("GEN-G38", "debian", append(STATUS, installed("open-vm-tools", "deinstall ok config-files"))),
    # GEN-G43: the guest agent
    defect("GEN-G43", "debian", edit(STATUS, lambda text: text.replace(AGENT, "nginx"))),
    defect("GEN-G43", "rhel", write(RPM, b"damaged"), related=("GEN-G37", "GEN-G38", "GEN-G24")),
    benign("GEN-G43", "debian", edit(STATUS, lambda text: text.replace(AGENT, "nginx")),
           write("/usr/sbin/qemu-ga", "x"), alone=True),
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
