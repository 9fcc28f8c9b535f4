# syntax=docker/dockerfile:1
# SPDX-License-Identifier: Apache-2.0
# The join's controller: plans the job with PyFlink, submits it and watches it. Build it from the root of the checkout
# (docs/images.md); name the bases by digest there.
ARG PYTHON=python:3.11-bookworm
ARG PYTHON_SLIM=python:3.11-slim-bookworm
ARG MAVEN=maven:3.9-eclipse-temurin-17
ARG JAVA=eclipse-temurin:17-jre-jammy

FROM ${MAVEN} AS maven
FROM ${JAVA} AS java

FROM ${PYTHON} AS tree
COPY --from=maven /opt/java/openjdk /opt/java/openjdk
COPY --from=maven /usr/share/maven /usr/share/maven
ENV JAVA_HOME=/opt/java/openjdk PATH=/opt/java/openjdk/bin:/usr/share/maven/bin:$PATH
WORKDIR /source
COPY infra/docker/locks infra/docker/locks
COPY infra/docker/tools.sh infra/docker/tools.sh
RUN infra/docker/tools.sh /tools
COPY . .
RUN infra/docker/wheel.sh /tools /wheels
RUN infra/docker/role.sh /tools /wheels join /opt/springtide

FROM ${PYTHON_SLIM} AS bytecode
COPY infra/docker/bytecode.sh /
RUN /bytecode.sh python3.11 /usr/local/lib/python3.11

FROM ${PYTHON_SLIM}
COPY --from=java /opt/java/openjdk /opt/java/openjdk
COPY --from=bytecode /usr/local/lib/python3.11 /usr/local/lib/python3.11
COPY --from=tree /opt/springtide /opt/springtide
ENV JAVA_HOME=/opt/java/openjdk PATH=/opt/springtide/bin:/opt/java/openjdk/bin:$PATH
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root; nothing below / belongs to it.
USER 10001:10001
ENTRYPOINT ["springtide"]
