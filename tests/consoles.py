"""Serial consoles as machines really write them: dead boots by the code they must get, and boots that are well."""

from __future__ import annotations

SEABIOS = (
    "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n"
    "Machine UUID 58269b86-3ed9-48ec-87f1-c9d3a72d8f19\r\nBooting from Hard Disk...\r\n"
)
LINUX = (
    "[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
    "[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz-6.1.0-26-cloud-amd64 root=PARTUUID=1a2b ro "
    "console=tty0 console=ttyS0,115200\r\n"
)

DEATHS: dict[str, list[str]] = {
    "machine.kernel-panic": [
        LINUX
        + '[    2.417212] VFS: Cannot open root device "LABEL=root" or unknown-block(0,0): error -6\r\n'
        + '[    2.418803] Please append a correct "root=" boot option; here are the available partitions:\r\n'
        + "[    2.420385] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
        + "[    2.422014] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-26-cloud-amd64 #1\r\n",
        LINUX + "[   31.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\r\n",
        LINUX + "[    1.1] Kernel panic - not syncing: System is deadlocked on memory\r\n",
    ],
    "machine.emergency": [
        LINUX
        + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to mount \x1b[0;1;39mmnt-data.mount\x1b[0m - /mnt/data.\r\n"
        + "[\x1b[0;1;33mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mlocal-fs.target\x1b[0m - Local.\r\n"
        + 'You are in emergency mode. After logging in, type "journalctl -xb" to view\r\n'
        + 'system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"\r\nto boot into default mode.\r\n'
        + "Give root password for maintenance\r\n(or press Control-D to continue): ",
        LINUX
        + 'You are in rescue mode. After logging in, type "journalctl -xb" to view\r\n'
        + "Cannot open access to console, the root account is locked.\r\nPress Enter to continue.\r\n",
        LINUX + 'Welcome to emergency mode! After logging in, type "journalctl -xb" to view\r\n',
    ],
    "machine.initramfs": [
        LINUX
        + "Begin: Running /scripts/local-block ... done.\r\nGave up waiting for root file system device.\r\n"
        + "ALERT!  LABEL=root does not exist.  Dropping to a shell!\r\n\r\n\r\nBusyBox v1.35.0 (Debian 1:1.35.0-4)\r\n"
        + "built-in shell (ash)\r\nEnter 'help' for a list of built-in commands.\r\n\r\n(initramfs) ",
        LINUX + "\r\nBusyBox v1.35.0 built-in shell (ash)\r\n\x1b[6n(initramfs) ",
        LINUX
        + "[  191.6] dracut-initqueue[321]: Warning: Could not boot.\r\n"
        + 'Warning: /dev/disk/by-uuid/1a2b does not exist\r\n\r\nGenerating "/run/initramfs/rdsosreport.txt"\r\n'
        + "\r\nEntering emergency mode. Exit the shell to continue.\r\n",
    ],
    "machine.grub": [
        SEABIOS + "GRUB loading.\r\nerror: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ",
        SEABIOS + "error: unknown filesystem.\r\nEntering rescue mode...\r\n\x1b[0mgrub rescue> ",
        "\x1b[2J\x1b[01;01H                             GNU GRUB  version 2.06\r\n"
        "   Minimal BASH-like line editing is supported. For the first word, TAB\r\n   lists possible completions.\r\n"
        "\r\n\r\ngrub> ",
    ],
    "machine.no-boot-device": [
        SEABIOS + "Boot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n",
        'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0): Not Found\r\n'
        "BdsDxe: No bootable option or device was found.\r\nBdsDxe: Press any key to enter the Boot Manager Menu.\r\n",
        "\x1b[2J\x1b[01;01HUEFI Interactive Shell v2.2\r\nEDK II\r\nUEFI v2.70 (Debian distribution of EDK II)\r\n",
    ],
}

CLOUD_INIT = "[   20.1] cloud-init[321]: Cloud-init v. 22.4.2 running 'init' at Sun, 22 Nov 2026 00:20:11 +0000.\r\n"
WAITING: dict[str, list[str]] = {
    "machine.no-seed": [
        # Recorded: ds-identify turned cloud-init off, and sshd has no host keys.
        "Loading Linux 6.1.0-56-cloud-amd64 ...\r\n"
        + LINUX
        + "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mgetty.target\x1b[0m - Login Prompts.\r\r\n"
        + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.servic\u2026[0m"
        + " - OpenBSD Secure Shell server.\r\r\nSee 'systemctl status ssh.service' for details.\r\r\n"
        + "[   41.650675] hrtimer: interrupt took 188006410 ns\r\n\r\r\nDebian GNU/Linux 12 localhost ttyS0\r\r\n"
        + "\r\nlocalhost login: [   54.003870] powernow_k8: Power state transitions not supported\r\n",
        LINUX
        + "[   61.9] cloud-init[488]: Cloud-init v. 22.4.2 finished at Sun, 22 Nov 2026 00:20:21 +0000. "
        + "Datasource DataSourceNone.  Up 61.93 seconds\r\n[   61.9] cloud-init[488]: 2026-11-22 00:20:21,001 - "
        + "cc_final_message.py[WARNING]: Used fallback datasource\r\n\r\nDebian GNU/Linux 12 debian ttyS0\r\n",
    ],
    "machine.no-address": [
        # Recorded: the same, later.
        LINUX
        + CLOUD_INIT
        + "[  128.0] cloud-init[381]: ci-info: ++++++++++++++++++++Net device info++++++++++++++++++++\r\n"
        + "[  128.0] cloud-init[381]: ci-info: | enp0s16 | True | fe80::5054:ff:fe70:a1b9/64 |     .     |  link |\r\n"
        + "[  128.0] cloud-init[381]: ci-info: |    lo   | True |         127.0.0.1          | 255.0.0.0 |  host |\r\n"
        + "[  128.0] cloud-init[381]: ci-info: |    lo   | True |          ::1/128           |     .     |  host |\r\n"
        + "[  128.1] cloud-init[381]: ci-info: +++++++++++++++++++Route IPv6 info+++++++++++++++++++\r\n",
        LINUX
        + "[   20.1] cloud-init[321]: ci-info: ++++++++++++++++++Net device info++++++++++++++++++\r\n"
        + "[   20.1] cloud-init[321]: ci-info: +--------+-------+-----------+-----------+-------+--------------+\r\n"
        + "[   20.1] cloud-init[321]: ci-info: | Device |   Up  |  Address  |    Mask   | Scope |  Hw-Address  |\r\n"
        + "[   20.1] cloud-init[321]: ci-info: |  eth0  | False |     .     |     .     |   .   | 52:54:00:1:2 |\r\n"
        + "[   20.1] cloud-init[321]: ci-info: |   lo   |  True | 127.0.0.1 | 255.0.0.0 |  host |      .       |\r\n"
        + "[   20.1] cloud-init[321]: ci-info: +--------+-------+-----------+-----------+-------+--------------+\r\n"
        + "[   20.2] cloud-init[321]: ci-info: +++++++++++++++++++Route IPv4 info++++++++++++++++++\r\n",
        LINUX
        + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mnetworking.service\x1b[0m - Raise network.\r\n",
    ],
    "machine.ssh-closed": [
        LINUX + CLOUD_INIT + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m.\r\n",
        LINUX
        + CLOUD_INIT
        + "[FAILED] Failed to start OpenBSD Secure Shell server.\r\nSee 'systemctl status ssh.service'.\r\n",
    ],
    "machine.cloud-init": [
        LINUX + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mcloud-init.service\x1b[0m - Initial job.\r\n",
        LINUX + "[   19.3] cloud-init[330]: Traceback (most recent call last):\r\n",
    ],
}
"""A system runs, but nobody will be able to log in: only known while somebody waits for that."""

ALIVE = [
    # Debian 12 as the factory's own base says it, with the words that a careless eye would take for a dead boot.
    SEABIOS
    + "GRUB loading..\r\nWelcome to GRUB!\r\n\r\n\x1b[0m\x1b[30m\x1b[47m\x1b[2J"
    + "error: no suitable video mode found.\r\nerror: no such device: /EFI/debian/grub.cfg.\r\n"
    + "Use the ^ and v keys to select which entry is highlighted. Press enter to boot the selected OS, `e' to edit\r\n"
    + "the commands before booting or `c' for a command-line.\r\n*Debian GNU/Linux\r\n (recovery mode)\r\n"
    + LINUX
    + "[    0.010000] Kernel command line: panic=-1 rescue=off emergency=off\r\n"
    + "[    0.741000] Trying to unpack rootfs image as initramfs...\r\n"
    + "[    1.934000] Freeing initrd memory: 12340K (initramfs)\r\n"
    + "Loading, please wait...\r\nStarting systemd-udevd version 252.39-1~deb12u1\r\n"
    + "Begin: Running /scripts/init-premount ... done.\r\nBegin: Will now check root file system ... fsck done.\r\n"
    + "[    6.420000] systemd[1]: Queued start job for default target graphical.target.\r\n"
    + "[    6.430000] systemd[1]: emergency.target: Dependency Conflicts=shutdown.target added.\r\n"
    + "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mlocal-fs.target\x1b[0m - Local File Systems.\r\n"
    + "[\x1b[0;32m  OK  \x1b[0m] Stopped target \x1b[0;1;39mrescue.target\x1b[0m - Rescue Mode.\r\n"
    + "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39memergency-notify.service\x1b[0m - Tell of an emergency.\r\n"
    + "         Starting \x1b[0;1;39mgrub-common.service\x1b[0m - Record successful boot for GRUB...\r\n"
    + "         Starting \x1b[0;1;39mrescue-ssh.target\x1b[0m - Enters rescue mode never...\r\n"
    + "[   41.2] cloud-init[412]: Cloud-init v. 22.4.2 running 'init' at Sun, 22 Nov 2026 00:20:11 +0000.\r\n"
    + "[   41.3] cloud-init[412]: ci-info: | eth0 | True | 10.0.2.15 | 255.255.255.0 | global |\r\n"
    + "[   58.0] cloud-init[611]: kernel.panic = 10, panic_on_oops\r\n"
    + "[   59.0] cloud-init[611]: cryptsetup: WARNING: the (initramfs) hook found no device\r\n"
    + "[   59.1] cloud-init[611]: ethtool: error: no such device\r\n"
    + "[   59.2] cloud-init[611]: E: grub> is only a word here\r\n"
    + "-----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5 root@host\r\n"
    + "-----END SSH HOST KEY KEYS-----\r\n\r\nDebian GNU/Linux 12 host ttyS0\r\n\r\nhost login: ",
    # A network that is there, as cloud-init shows it, and one that came late.
    LINUX
    + "\x1b\r\r\x1b[K[\x1b[0;1;31m*\x1b[0m    ] Job networking.service/start running (45s / 5min 36s)\r\r\n"
    + "[    5.1]  A start job is running for Raise network interfaces (12s / 5min 2s)\r\n"
    + "\x1b\r\r\x1b[K[ \x1b[0;31m*\x1b[0m] Job networking.service/start running (1min 44s / 5min 36s)\r\r\n"
    + "[   20.1] cloud-init[321]: ci-info: ++++++++++++++++++Net device info++++++++++++++++++\r\n"
    + "[   20.1] cloud-init[321]: ci-info: | Device |   Up  |  Address  |    Mask   | Scope |  Hw-Address  |\r\n"
    + "[   20.1] cloud-init[321]: ci-info: |  ens16 |  True | 10.0.2.15 | 255.255.255.0 | global | 52:54:00:1:2 |\r\n"
    + "[   20.1] cloud-init[321]: ci-info: |   lo   |  True | 127.0.0.1 | 255.0.0.0 |  host |      .       |\r\n"
    + "[   20.2] cloud-init[321]: ci-info: +++++++++++++++++++Route IPv4 info++++++++++++++++++\r\n"
    + "[   61.9] cloud-init[488]: Cloud-init v. 22.4.2 finished at Sun, 22 Nov 2026 00:20:21 +0000. Datasource "
    + "DataSourceNoCloud [seed=/dev/vdb][dsmode=net].  Up 61.93 seconds\r\n",
    # dracut is slow under emulation, says so, and still finds its disk.
    LINUX
    + "[  130.1] dracut-initqueue[321]: Warning: dracut-initqueue: timeout, still waiting for following hooks:\r\n"
    + "[  130.2] dracut-initqueue[321]: Warning: dracut-initqueue timeout - starting timeout scripts\r\n"
    + "[  141.0] systemd[1]: Switching root.\r\nRocky Linux 9.4 (Blue Onyx)\r\nhost login: ",
    # UEFI, where the first entry fails and the second boots.
    'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0): Not Found\r\n'
    'BdsDxe: loading Boot0002 "UEFI Misc Device 2" from PciRoot(0x0)/Pci(0x1,0x1)\r\n'
    'BdsDxe: starting Boot0002 "UEFI Misc Device 2" from PciRoot(0x0)/Pci(0x1,0x1)\r\n' + LINUX,
    "",
    # A network that came late: what waited for it gave up, cloud-init then shows the address.
    LINUX
    + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39msystemd-networkd-wait-online.service\x1b[0m"
    + " - Wait for Network to be Configured.\r\n"
    + "[   20.1] cloud-init[321]: ci-info: ++++++++++++++++++Net device info++++++++++++++++++\r\n"
    + "[   20.1] cloud-init[321]: ci-info: |  ens16 |  True | 10.0.2.15 | 255.255.255.0 | global | 52:54:00:1:2 |\r\n"
    + "[   20.2] cloud-init[321]: ci-info: +++++++++++++++++++Route IPv4 info++++++++++++++++++\r\n",
    # An SSH server that came up at its second start, with cloud-init's words and without.
    *(
        LINUX
        + words
        + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell"
        + " server.\r\n"
        + "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r\n"
        for words in (CLOUD_INIT, "")
    ),
    # What a command of cloud-init prints is no shell of the system.
    LINUX
    + CLOUD_INIT
    + "[   58.0] cloud-init[611]: sulogin(8): Give root password for maintenance\r\n"
    + "[   58.1] cloud-init[611]: if the console says You are in rescue mode, call us\r\n",
]
