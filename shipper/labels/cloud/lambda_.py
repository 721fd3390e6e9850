"""AWS Lambda: the function and its version (AWS Lambda developer guide, "Defined runtime environment variables")."""

from __future__ import annotations

from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings

LATEST = "$LATEST"
_MIB = 1 << 20


def detect(around: Surroundings) -> Finding:
    """Function, version, region and memory. ``$LATEST`` is whatever was uploaded last, so it names no generation."""
    name, version = around.variable("AWS_LAMBDA_FUNCTION_NAME"), around.variable("AWS_LAMBDA_FUNCTION_VERSION")
    attributes: dict[str, AttributeValue] = {"cloud.provider": "aws", "cloud.platform": "aws_lambda", "faas.name": name}
    stream = around.variable("AWS_LAMBDA_LOG_STREAM_NAME")  # one for each environment; hidden from extensions
    for attribute, value in {
        "faas.version": version,
        "faas.instance": stream,
        "cloud.region": around.variable("AWS_REGION"),
    }.items():
        if value:
            attributes[attribute] = value
    if (memory := around.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")).isascii() and memory.isdecimal():
        attributes["faas.max_memory"] = int(memory) * _MIB
    published = f"{name}:{version}" if version and version != LATEST else ""
    note = f"{LATEST} is no published version" if version == LATEST else ""
    candidates = (
        Candidate("generation", published, "AWS_LAMBDA_FUNCTION_VERSION", note),
        Candidate("host", stream, "AWS_LAMBDA_LOG_STREAM_NAME"),
    )
    return Finding(candidates, attributes, fallbacks=(Candidate("service", name, "AWS_LAMBDA_FUNCTION_NAME"),))
