#!/bin/sh
# Installs the package as an administrator would, then runs the guest tests. Output goes to the
# serial line that tests/vm/test_vm.py reads.
set -u
echo "kernel $(uname -r); controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
if dpkg -i /payload/*.deb; then
  cd /payload/guest && PYTHONDONTWRITEBYTECODE=1 python3 guest_tests.py
else
  echo "not ok install the package"
fi
echo "guest tests are over"
