"""Tests of the bill of materials and of the audit of dependencies; know no room's inside."""

# SPDX-License-Identifier: Apache-2.0
