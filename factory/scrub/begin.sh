#!/bin/sh
# shellcheck disable=SC2034,SC2317 # what is defined here is used by what follows it in the whole script
# The last act in the guest of a build. It lies in /run, so it is gone with the guest's memory.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
PYTHONDONTWRITEBYTECODE=1
export PATH LC_ALL PYTHONDONTWRITEBYTECODE
umask 022
set -u
status=0

say() {
    printf '%s\n' "$*"
}

# operation NAME FUNCTION: run the function; when it fails, say so, and go on with the next one.
operation() {
    # Not as part of an "if" or "||": there the shell would ignore the "set -e".
    said=$(set -eu; "$2" 2>&1)
    ended=$?
    [ "$ended" -eq 0 ] && return
    status=1
    said=$(printf '%s' "$said" | tail -n 1 | tr -cd '[:print:]')
    say "FACTORY-SCRUB failed $1 (status $ended${said:+: $said})"
}

# Every directory that is or may be somebody's home, one a line; the root directory is an empty line. What lies in the
# machine's memory (the account sys has the home /dev) is none.
homes() {
    {
        printf '%s\n' / /root /etc/skel
        for home in /home/*; do
            printf '%s\n' "$home"
        done
        while IFS=: read -r _ _ _ _ _ home _; do
            printf '%s\n' "$home"
        done </etc/passwd
    } | while IFS= read -r home; do
        case $home/ in
            /dev/* | /proc/* | /run/* | /sys/*) ;;
            /*) [ ! -d "$home/." ] || printf '%s\n' "${home%/}" ;;
        esac
    done
}

# The three below start no program when there is nothing to do: in an emulated guest each start is slow.

# empty DIRECTORY...: delete what is in them, hidden files too, and keep the directories, their owners and modes.
empty() {
    for directory; do
        shift
        # With the dot, a symbolic link to a directory is followed.
        [ ! -d "$directory/." ] || set -- "$@" "$directory/."
    done
    [ $# -eq 0 ] || find "$@" -xdev -mindepth 1 -delete
}

# remove FILE...: delete these where they are there; directories stay.
remove() {
    for file; do
        shift
        if [ -L "$file" ] || { [ -e "$file" ] && [ ! -d "$file" ]; }; then
            set -- "$@" "$file"
        fi
    done
    [ $# -eq 0 ] || rm -f "$@"
}

# remove_trees PATH...: delete these where they are there, directories with all that is in them.
remove_trees() {
    for tree; do
        shift
        if [ -L "$tree" ] || [ -e "$tree" ]; then
            set -- "$@" "$tree"
        fi
    done
    [ $# -eq 0 ] || rm -rf "$@"
}
