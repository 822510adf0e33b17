"""The peer: Packer's qemu builder on the same base, with the same package, without any test of the result."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from bench.measure import Cost, run
from factory import seed


def available() -> str:
    """The path of packer, or empty."""
    return shutil.which("packer") or ""


def build(base: Path, sha256: str, package: str, mirror_lines: str, work: Path, accelerator: str) -> Cost:
    """Install *package* into a copy of *base* as Packer does; *work* is an empty folder."""
    login, host_key = seed.new_keypair("bench"), seed.new_keypair("bench-host")
    given = seed.build_seed(hostname="factory-bench00", instance_id="bench-instance", login=login, host_key=host_key)
    iso, key, out = work / "seed.iso", work / "key", work / "out"
    seed.write(given, iso)
    key.write_text(login.private_openssh)
    key.chmod(0o600)
    inline = [
        "cloud-init status --wait || true",
        f"printf '%s' '{mirror_lines}' > /etc/apt/sources.list",
        "apt-get -q update",
        f"DEBIAN_FRONTEND=noninteractive apt-get -qy install {package}",
        "apt-get clean",
        "fstrim -av",
    ]
    template = {
        "builders": [
            {
                "type": "qemu",
                "accelerator": accelerator,
                "disk_image": True,
                "iso_url": str(base),
                "iso_checksum": f"sha256:{sha256}",
                "output_directory": str(out),
                "vm_name": "packer.qcow2",
                "format": "qcow2",
                "disk_size": "4096M",
                "disk_compression": True,
                "disk_discard": "unmap",
                "disk_interface": "virtio",
                "net_device": "virtio-net",
                "headless": True,
                "cpus": 2,
                "memory": 2048,
                "qemuargs": [
                    ["-cpu", "max"],
                    ["-drive", f"file={out}/packer.qcow2,if=virtio,cache=unsafe,discard=unmap,format=qcow2"],
                    ["-drive", f"file={iso},if=virtio,format=raw,readonly=on"],
                ],
                "ssh_username": "root",
                "ssh_private_key_file": str(key),
                "ssh_timeout": "20m",
                "shutdown_command": "poweroff",
                "boot_wait": "1s",
            }
        ],
        "provisioners": [{"type": "shell", "inline": inline}],
    }
    file = work / "packer.json"
    file.write_text(json.dumps(template, indent=2))
    cost = run(
        [available(), "build", "-color=false", str(file)],
        log=work / "packer.log",
        environment={"PACKER_CACHE_DIR": str(work / "cache"), "CHECKPOINT_DISABLE": "1"},
    )
    return replace(cost, size=(out / "packer.qcow2").stat().st_size)


if __name__ == "__main__":
    sys.exit("run it with: make bench")
