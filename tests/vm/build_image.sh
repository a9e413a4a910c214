#!/bin/sh
# Builds the virtual machine of tests/vm: Debian 12 with systemd and Debian's cloud kernel, so pure
# cgroup v2. Usage: build_image.sh DIRECTORY. Leaves DIRECTORY/{vmlinuz,initrd.img,root.ext4} and does
# nothing when they were made by these same files. Needs root, mmdebstrap, e2fsprogs and the
# machine's own Debian mirror.
set -eu

directory=$1
stamp=$(cat "$0" "$(dirname "$0")/guest/pillion-vm-tests.service" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$directory/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi
mkdir -p "$directory"
root=$(mktemp -d "$directory/root.XXXXXX")
trap 'rm -rf "$root"' EXIT

# The machine's Debian sources, in either format; third-party ones do not belong in the image.
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list

packages=systemd,systemd-sysv,dbus,udev,python3,iproute2,nftables,curl,procps,kmod
packages=$packages,linux-image-cloud-amd64,initramfs-tools
# What the package depends on, so that dpkg -i works without a network inside.
packages=$packages,libuv1,libfmt9,libspdlog1.10,libtomlplusplus3,libcurl4,libnftables1,libmnl0
packages=$packages,libpq5,libzstd1,libnghttp2-14,libseccomp2,libpcre2-8-0,libcap-ng0,libssl3,zlib1g,passwd,libabsl20220623
# The initial RAM disk holds the drivers of this machine only: it is unpacked in emulation. ($1 is the hook's.)
# shellcheck disable=SC2016
mmdebstrap --quiet --variant=minbase --include="$packages" \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
  --essential-hook='echo MODULES=list > "$1/etc/initramfs-tools/conf.d/pillion"' \
  --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" > "$1/usr/share/initramfs-tools/modules.d/pillion"' \
  bookworm "$root" "$sources"

cp "$root"/boot/vmlinuz-* "$directory/vmlinuz"
cp "$root"/boot/initrd.img-* "$directory/initrd.img"
cp "$(dirname "$0")/guest/pillion-vm-tests.service" "$root/etc/systemd/system/"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/payload"
echo "/dev/vdb /payload ext4 ro" >> "$root/etc/fstab"
ln -s ../pillion-vm-tests.service "$root/etc/systemd/system/multi-user.target.wants/"
rm -f "$root"/boot/vmlinuz-* "$root"/boot/initrd.img-*
mke2fs -q -t ext4 -d "$root" "$directory/root.ext4" 1200M
echo "$stamp" > "$directory/stamp"
