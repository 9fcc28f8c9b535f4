"""What Prometheus and Grafana are told about the metrics; must not read any of them."""
