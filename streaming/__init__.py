"""Events become samples, by Flink SQL inside the JVM; must not know learners or versions."""
