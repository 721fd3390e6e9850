"""The parts of ``logstash``: the lumberjack protocol, version 2."""
