"""The receiver of the Fluent forward protocol, which Fluentd, Fluent Bit and their loggers speak."""
