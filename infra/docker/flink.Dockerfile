# syntax=docker/dockerfile:1
# SPDX-License-Identifier: Apache-2.0
# Flink's JobManager and TaskManagers, with the Kafka connector and the S3 plugin. Build it from the root of the
# checkout (docs/images.md); name the bases by digest there.
ARG PYTHON=python:3.11-bookworm
ARG MAVEN=maven:3.9-eclipse-temurin-17
ARG JAVA=eclipse-temurin:17-jre-jammy

FROM ${MAVEN} AS maven

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
RUN infra/docker/flink.sh /opt/springtide /opt/flink

FROM ${JAVA}
COPY --from=tree /opt/flink /opt/flink
ENV FLINK_HOME=/opt/flink PATH=/opt/flink/bin:$PATH
# A number, so that Kubernetes can see that it is not root; nothing below / belongs to it.
USER 10001:10001
ENTRYPOINT ["jobmanager.sh"]
CMD ["start-foreground"]
