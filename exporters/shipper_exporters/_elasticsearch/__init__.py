"""The parts of ``elasticsearch`` and ``opensearch``: documents of ECS and of OpenTelemetry, bulk requests, their answers."""
