#!/bin/sh
# Compiles the modules below a folder, as nothing can where the root is read-only: `bytecode.sh PYTHON FOLDER`.
# SPDX-License-Identifier: Apache-2.0
set -eu
# A hash of the source stands in each file instead of its time, and nobody checks it again. One process compiles: which
# strings are marked as shared depends on what the same process compiled before. Some packages carry files that are
# not meant to compile.
PYTHONHASHSEED=0 "$1" -P -m compileall -q -j 1 --invalidation-mode unchecked-hash \
  -x '/(tests?|examples|mypyc?|idlelib|lib2to3)/' "$2" >/dev/null || true
