"""Real logs that the demo can replay, each as events in time order; must not know Kafka or the loop."""
