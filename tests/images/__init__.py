"""Tests of what the images hold, built by their own scripts outside a container; know no room's inside."""

# SPDX-License-Identifier: Apache-2.0
