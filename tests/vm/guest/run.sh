#!/bin/sh
# Installs the package as an administrator would, then runs the guest tests; reboots, and runs those of the second
# boot. Output goes to the serial line that tests/vm/test_vm.py reads.
set -u
cd /payload/guest || exit
export PYTHONDONTWRITEBYTECODE=1
mark=/var/lib/pillion-vm-rebooted
if [ -e "$mark" ]; then
  python3 guest_tests.py second_boot
elif dpkg -i /payload/*.deb; then
  echo "kernel $(uname -r), up $(cut -d. -f1 /proc/uptime) s; controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
  python3 guest_tests.py first_boot
  touch "$mark" && sync && systemctl --no-block reboot && exit
else
  echo "not ok install the package"
fi
echo "guest tests are over"
systemctl --no-block poweroff
