"""The world outside: spec, errors, clock, Kafka, object store, local stack; must not know what a model is."""
