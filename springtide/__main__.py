"""Lets `python -m springtide` be the command; knows nothing else."""

# SPDX-License-Identifier: Apache-2.0
from springtide.cli import main

main()
