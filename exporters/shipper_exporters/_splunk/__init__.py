"""The parts of ``splunk``: events, acknowledgements of indexers, and what HEC answers."""
