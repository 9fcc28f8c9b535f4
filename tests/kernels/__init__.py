"""Tests of kernels/."""
# SPDX-License-Identifier: Apache-2.0
