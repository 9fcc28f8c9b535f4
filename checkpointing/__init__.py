"""Rows become versions and versions rows again, on any object store; must not know TensorFlow or Kafka."""
