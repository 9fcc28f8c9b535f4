"""Tests of `streaming/`."""

# SPDX-License-Identifier: Apache-2.0
