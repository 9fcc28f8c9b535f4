"""Shows how far behind the stream the model is; must not change anything it shows."""
