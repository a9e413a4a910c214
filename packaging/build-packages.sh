#!/bin/sh
# Builds the .deb and the .rpm from a configured build tree. Usage: build-packages.sh BUILD_DIR [OUT_DIR]
# rpm is skipped, loudly, where rpmbuild is missing.
set -eu
build=$(cd "$1" && pwd)
out=${2:-$build/packages}
mkdir -p "$out"
cmake --build "$build" --target programs package_files

generators=DEB
if command -v rpmbuild >/dev/null; then
    generators="DEB;RPM"
else
    echo "build-packages: no rpmbuild, so NO .rpm is built" >&2
fi
cpack --config "$build/CPackConfig.cmake" -G "$generators" -B "$out"
rm -rf "$out/_CPack_Packages"
ls -l "$out"
