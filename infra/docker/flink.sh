#!/bin/sh
# Cuts the Flink distribution out of a join's tree: `flink.sh JOIN_PREFIX PREFIX`, with the Kafka connector and the S3
# plugin where Flink looks for them. The decoder of events travels with each job and lies in opt/ for a SQL client.
# SPDX-License-Identifier: Apache-2.0
set -eu
join=$1
prefix=$2
flink=$(echo "$join"/lib/python3.*/site-packages/pyflink)
jars=$join/share/springtide
rm -rf "$prefix"
mkdir -p "$prefix/plugins/s3" "$prefix/opt"
for part in bin conf lib; do cp -R "$flink/$part" "$prefix/$part"; done
find "$prefix" \( -name '*.py' -o -name __pycache__ \) -prune -exec rm -rf {} +
# The wheel does not keep the marks of what can be executed.
chmod 0755 "$prefix"/bin/*.sh
cp "$jars"/jars/flink/flink-sql-connector-kafka-*.jar "$prefix/lib/"
cp "$jars"/jars/flink/flink-s3-fs-native-*.jar "$prefix/plugins/s3/"
cp "$jars"/decoder/springtide-events.jar "$prefix/opt/"
