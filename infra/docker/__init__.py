"""How the images are built: a Dockerfile per role over scripts that also run outside a container."""

# SPDX-License-Identifier: Apache-2.0
