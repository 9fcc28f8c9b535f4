"""What a look at two topics tells of a pipeline that could join them; knows messages, not how they are read."""

# SPDX-License-Identifier: Apache-2.0
