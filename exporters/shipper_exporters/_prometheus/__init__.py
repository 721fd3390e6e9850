"""The parts of ``prometheus``, ``prometheus-scrape`` and ``pushgateway``: from OTLP to series, and their wire formats."""
