"""Tests that hold the documents to the code and to what happens; know no room's inside."""

# SPDX-License-Identifier: Apache-2.0
