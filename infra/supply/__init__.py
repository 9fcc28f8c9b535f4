"""What Springtide is made of: a bill of materials, and whether any of it is known to be unsafe."""

# SPDX-License-Identifier: Apache-2.0
