"""What a stated load wants of machines, from what was measured on one; knows figures and a pipeline, no server."""

# SPDX-License-Identifier: Apache-2.0
