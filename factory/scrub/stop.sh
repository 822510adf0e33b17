# shellcheck shell=sh disable=SC2154,SC2317 # the second part of the script
# From here on the machine is taken down: what stands above is shared with a run in a tree that nothing runs in.
if [ "$0" != /run/factory-scrub ]; then
    echo "$0 erases and powers off the machine it runs on: it only runs as /run/factory-scrub" >&2
    exit 2
fi
# The journal is about to stop, and a write to it would then end this script.
exec </dev/null >/dev/null 2>&1

terminals=/dev/console
read -r active </sys/class/tty/console/active || active=
case $active in
    *ttyS0) ;; # /dev/console is the last of the active ones
    *) terminals="/dev/console /dev/ttyS0" ;;
esac

say() {
    for terminal in $terminals; do
        # Opened each time: a terminal is hung up when its login prompt is stopped.
        [ ! -c "$terminal" ] || printf '\n%s\n' "$*" >"$terminal"
    done
}

sessions() {
    cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep -Eq '^sshd(-session)?: .*@'
}

# What a session writes when it ends must be there before the deletion, not after it.
wait_for_sessions() {
    turns=0
    while sessions && [ "$turns" -lt 40 ]; do
        sleep 0.25
        turns=$((turns + 1))
    done
}

# stop_units OPTION...: stop the units that systemctl list-units lists with these options, all but this script's own.
stop_units() {
    systemctl list-units --plain --no-legend --full "$@" >/run/factory-scrub.units
    set --
    while read -r unit _; do
        case $unit in
            factory-scrub.service | init.scope) ;;
            *) set -- "$@" "$unit" ;;
        esac
    done </run/factory-scrub.units
    [ $# -eq 0 ] || timeout 180 systemctl stop "$@"
}

stop_writers() {
    # Nothing may come back: not by a socket or timer, and not if systemd reads its units again below.
    systemctl mask --runtime --no-reload systemd-journald.service systemd-journald.socket \
        systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journal-flush.service \
        systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
        systemd-timesyncd.service systemd-logind.service systemd-coredump.socket systemd-tmpfiles-clean.service \
        ssh.service ssh.socket sshd.service sshd.socket rsyslog.service syslog.socket cron.service crond.service \
        chrony.service chronyd.service networking.service NetworkManager.service systemd-networkd.service \
        apt-daily.service apt-daily-upgrade.service unattended-upgrades.service dpkg-db-backup.service \
        man-db.service logrotate.service packagekit.service qemu-guest-agent.service
    stop_units --type=path,socket,timer --state=active
    # Services that run, in their own orderly way: a database writes its last pages now. Those that have merely run
    # (a mount's check of its file system, say) are left alone, because what needs them would stop with them.
    stop_units --type=service,scope --state=running,activating,reloading,auto-restart
}

# The processes that are left, apart from PID 1, the kernel's and this script's.
strays() {
    for folder in /proc/[0-9]*; do
        pid=${folder#/proc/}
        case $pid in 1 | 2 | "$$") continue ;; esac
        read -r line <"$folder/stat" || continue
        line=${line##*) } # state, then the parent; the name before it may hold anything
        parent=${line#* }
        parent=${parent%% *}
        case $parent in 2 | "$$") ;; *) printf '%s ' "$pid" ;; esac
    done
}

end_strays() {
    for signal in TERM KILL; do
        turns=0
        left=$(strays)
        # shellcheck disable=SC2086 # a list of numbers
        [ -z "$left" ] || kill -s "$signal" $left
        while [ -n "$(strays)" ] && [ "$turns" -lt 20 ]; do
            sleep 0.1
            turns=$((turns + 1))
        done
    done
}

# After an upgrade PID 1 still has the old libraries open, whose deleted files would keep / from being read-only.
renew_init() {
    grep -Eq ' /(usr|lib|lib64|bin|sbin)/.* \(deleted\)$' /proc/1/maps || return 0
    systemctl daemon-reexec
}

trim() {
    sync
    fstrim -av
}

# With a device named (the kernel does not care which), mount ignores fstab, whose labels may not be found without udev.
read_only_from_now() {
    mount -o remount,ro none "$1"
}

read_only() {
    set -f
    mounts=''
    while read -r source target _; do
        case $source:$target in
            *:/ | *:/dev | *:/dev/* | *:/proc | *:/proc/* | *:/sys | *:/sys/* | *:/run | *:/run/*) ;;
            /dev/*) mounts="$target $mounts" ;; # the last one first
        esac
    done </proc/mounts
    for target in $mounts; do
        target=$(printf '%b' "$target") # a space in it is written as \040
        umount "$target" || read_only_from_now "$target"
    done
    turns=0
    until said=$(read_only_from_now / 2>&1); do
        turns=$((turns + 1))
        if [ "$turns" -ge 10 ]; then
            echo "$said; still running: $(strays)"
            return 1
        fi
        sleep 0.5
    done
}

finish() {
    [ $? -eq 0 ] || status=1
    trap - EXIT HUP INT TERM
    operation trim trim
    operation read-only read_only
    say "FACTORY-SCRUB-DONE $status"
    # Forced once: systemd stops no unit, so none can write its last words, and unmounts everything in order.
    systemctl poweroff --force || poweroff -f
    exit
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
echo '1 4 1 7' >/proc/sys/kernel/printk # the kernel's messages would tear the lines of this script apart
if [ -d /run/systemd/system ]; then
    wait_for_sessions
    stop_writers
fi
end_strays
swapoff -a
renew_init
