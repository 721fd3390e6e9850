"""The shipped boards drawn from a Prometheus without a Grafana: one static page that says what it is."""
