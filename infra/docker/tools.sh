#!/bin/sh
# Makes the environment that images are built with: uv, and what compiles the wheel. First argument: its folder.
# SPDX-License-Identifier: Apache-2.0
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
"${PYTHON:-python3.11}" -m venv --clear "$folder"
"$folder/bin/python" -m pip --disable-pip-version-check install -q --require-hashes -r "$here/locks/build.lock"
