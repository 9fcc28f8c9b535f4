# syntax=docker/dockerfile:1
# SPDX-License-Identifier: Apache-2.0
# The page, and the compactor, which wants no more than the page does. Build it from the root of the checkout (docs/images.md); name the bases by digest there.
ARG PYTHON=python:3.11-bookworm
ARG PYTHON_SLIM=python:3.11-slim-bookworm

FROM ${PYTHON} AS tree
WORKDIR /source
COPY infra/docker/locks infra/docker/locks
COPY infra/docker/tools.sh infra/docker/tools.sh
RUN infra/docker/tools.sh /tools
COPY . .
RUN infra/docker/wheel.sh /tools /wheels
RUN infra/docker/role.sh /tools /wheels page /opt/springtide

FROM ${PYTHON_SLIM} AS bytecode
COPY infra/docker/bytecode.sh /
RUN /bytecode.sh python3.11 /usr/local/lib/python3.11

FROM ${PYTHON_SLIM}
COPY --from=bytecode /usr/local/lib/python3.11 /usr/local/lib/python3.11
COPY --from=tree /opt/springtide /opt/springtide
ENV PATH=/opt/springtide/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root; nothing below / belongs to it.
USER 10001:10001
ENTRYPOINT ["springtide"]
