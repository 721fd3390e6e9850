"""Backends that hosts ship to, asked what they have: Loki, Elasticsearch or OpenSearch, Splunk, Datadog; one file each."""
