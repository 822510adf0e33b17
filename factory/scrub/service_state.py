"""Deletes that by which a service knows this one machine: ids, keys of its own, and what it learned of the network.

Services find no trouble with being cloned until two of them meet: agents fight over one identity at their server,
storage hands one initiator's disks to two hosts, a database replica takes its peer for itself. Everything in the table
is made again by the service when it starts without it. The service's data is not touched.

Debian's iSCSI initiator does not start without its file, and makes a name when that says ``GenerateName=yes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, size, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Identities that services gave to the build's machine"
ORDER = 170

_FILES = {
    "/etc/nvme/hostid": "NVMe host id",
    "/etc/nvme/hostnqn": "NVMe host name",
    "/etc/multipath/wwids": "ids of the build's disks",
    "/etc/multipath/bindings": "ids of the build's disks",
    "/etc/lvm/devices/system.devices": "ids of the build's disks, without which LVM finds no other disk",
    "/etc/lvm/archive/*": "LVM state of the build's disks",
    "/etc/lvm/backup/*": "LVM state of the build's disks",
    "/etc/lvm/cache/.cache": "LVM's list of the build's disks",
    "/var/lib/iscsi/nodes/*": "iSCSI targets",
    "/var/lib/iscsi/send_targets/*": "iSCSI targets",
    "/var/lib/docker/engine-id": "Docker engine id",
    "/etc/docker/key.json": "Docker engine key",
    "/var/lib/mysql/auto.cnf": "MySQL server id",
    "/var/lib/rabbitmq/.erlang.cookie": "RabbitMQ cluster secret",
    "/var/lib/fail2ban/fail2ban.sqlite3": "addresses that fail2ban banned",
    "/var/lib/puppet/ssl/*/*": "Puppet agent key or certificate",
    "/etc/puppetlabs/puppet/ssl/*/*": "Puppet agent key or certificate",
    "/etc/salt/minion_id": "Salt minion id",
    "/etc/salt/pki/minion/*": "Salt minion key",
    "/var/lib/tailscale/*": "Tailscale node key",
    "/var/lib/zerotier-one/identity.*": "ZeroTier identity",
    "/var/lib/netdata/registry/netdata.public.unique.id": "Netdata id",
    "/var/lib/consul/node-id": "Consul node id",
    "/opt/consul/node-id": "Consul node id",
    "/var/lib/filebeat/meta.json": "Filebeat id",
    "/var/lib/metricbeat/meta.json": "Metricbeat id",
    "/var/lib/yum/uuid": "yum's client id",
    "/var/lib/dnf/repos/*/countme": "dnf's count of this machine",
    "/var/lib/chrony/*drift*": "drift of the build's clock",
    "/var/lib/chrony/*.rtc": "drift of the build's clock",
    "/var/lib/ntp*/*drift*": "drift of the build's clock",
    "/var/lib/ubuntu-advantage/private/*": "Ubuntu Pro token",
    "/var/lib/landscape/client/*": "Landscape registration",
    "/var/lib/snapd/device/private-keys-v1/*": "snapd device key",
}
_ISCSI = "/etc/iscsi/initiatorname.iscsi"
_POPCON = "/etc/popularity-contest.conf"


def apply(_: Facts) -> str:
    """Docker and the like have been stopped before."""
    return f"""
    remove {" ".join(_FILES)}
    if [ -f {_ISCSI} ] && grep -q '^InitiatorName=' {_ISCSI}; then
        if [ -d /var/lib/dpkg ]; then
            echo GenerateName=yes >{_ISCSI}
        else
            rm -f {_ISCSI}
        fi
    fi
    [ ! -f {_POPCON} ] || sed -i '/^MY_HOSTID=/d' {_POPCON}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Empty files are no identities."""
    for pattern, what in _FILES.items():
        for path, found in matching(image, pattern):
            if found.size:
                yield Leftover(path, f"{what} ({size(found)})")
    for path, start, what in ((_ISCSI, "InitiatorName=", "iSCSI initiator name"), (_POPCON, "MY_HOSTID=", "popcon id")):
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            if line.startswith(start) and line.removeprefix(start).strip("\"' "):
                yield Leftover(path, f"{what} in line {number}")
