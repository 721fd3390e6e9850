"""The parts of ``kafka``: messages, the producer, and what brokers answer."""
