"""The real Kafka, Flink and S3 on this machine, for the demo and the tests; must not know streaming or the learner."""

# SPDX-License-Identifier: Apache-2.0
