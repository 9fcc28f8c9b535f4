#!/bin/sh
# Builds the wheel of the checkout: `wheel.sh TOOLS OUT`. The same sources give the same bytes wherever they lie.
# SPDX-License-Identifier: Apache-2.0
set -eu
tools=$1
out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1577836800}" PATH="$tools/bin:$PATH"
# The compiler may not write down where the sources and its tools lay. (The C++ library stays outside: the one to link
# in wants a newer C library than ours does.)
export CXXFLAGS="-ffile-prefix-map=$root=. -ffile-prefix-map=$tools=tools"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$tools/bin/python" -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation \
  -C build-dir="$work/build" -w "$work/wheel" "$root"
mkdir -p "$out"
# Gives it the oldest platform tag that it holds to, as `manylinux_2_…`; a wheel that fits none ends here.
"$tools/bin/auditwheel" repair -w "$out" "$work"/wheel/*.whl
