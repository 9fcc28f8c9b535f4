#!/bin/sh
# Builds what a role's image holds: `role.sh TOOLS WHEELS ROLE PREFIX`. PREFIX is a Python environment with the role's
# extra and nothing else, compiled to bytecode; the role `join` also gets the jars that it hands to Flink.
# SPDX-License-Identifier: Apache-2.0
set -eu
tools=$1
wheels=$2
role=$3
prefix=$4
here=$(cd "$(dirname "$0")" && pwd)
# One order of everything that is kept in sets, and one time, so that two builds are equal byte by byte.
export PYTHONHASHSEED=0 SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1577836800}" PYTHONDONTWRITEBYTECODE=1

rm -rf "$prefix"
"${PYTHON:-python3.11}" -m venv --without-pip "$prefix"
uv="$tools/bin/uv -q pip install --python $prefix/bin/python --no-deps"
# What comes as sources only is built by the locked tools.
$uv --require-hashes --build-constraints "$here/locks/build.lock" -r "$here/locks/$role.lock"
$uv --no-index --find-links "$wheels" springtide

if [ "$role" = join ]; then
  # Not what lies in the folder where this runs: that would be the checkout.
  "$prefix/bin/python" -I -m infra.bootstrap
  # The broker's jars are for `springtide demo`; stamps and logs tell times.
  rm -rf "$prefix/share/springtide/setup" "$prefix/share/springtide/logs" "$prefix/share/springtide/decoder/classes"
  rm -rf "$prefix/share/springtide/jars/kafka"
fi

find "$prefix" -name __pycache__ -type d -prune -exec rm -rf {} +
"$here/bytecode.sh" "$prefix/bin/python" "$prefix/lib"
