#!/bin/sh
# Installs the apt packages of the given sections of apt-packages.txt that are not installed yet.
# Usage: bootstrap.sh SECTION…   (build run test package fuzz bench)
# With everything there it does nothing: no network, no root. Never removes or upgrades anything.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
list="$here/apt-packages.txt"

say() { printf '%s\n' "$*" >&2; }

packages_of() {
    awk -v want="[$1]" '/^[[:space:]]*(#|$)/ { next } /^\[/ { inside = ($1 == want); next } inside { print $1 }' "$list"
}

wanted=""
for section in "$@"; do
    found=$(packages_of "$section")
    [ -n "$found" ] || { say "bootstrap: no section [$section] in $list"; exit 2; }
    wanted="$wanted $found"
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "bootstrap: this machine has no apt, so nothing was installed. Pillion builds from Debian 12's packages;"
    say "bootstrap: on another system install the equivalents of: $wanted"
    exit 0
fi

# shellcheck disable=SC2086  # one word per package is the point, here and below
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' || true)
missing=""
for package in $wanted; do
    printf '%s\n' "$installed" | grep -qx "$package" || case " $missing " in
        *" $package "*) ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "bootstrap: not root and no sudo. As root, run:  apt-get install$missing"
        exit 1
    fi
    as_root=sudo
fi

say "bootstrap: installing$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing >&2
