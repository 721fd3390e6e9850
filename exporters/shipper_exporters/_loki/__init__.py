"""The parts of ``loki``: streams with few labels, its push format, and what it answers."""
