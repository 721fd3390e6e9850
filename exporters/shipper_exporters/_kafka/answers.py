"""What Kafka's errors mean (https://kafka.apache.org/protocol#protocol_error_codes, and librdkafka's own, which are negative).

librdkafka itself tries again whatever it can, for as long as it takes, and brokers know by sequence numbers what they have: so
what is reported here is final for the message, or speaks of the connection.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._way.words import excerpt

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
_CONTENT = frozenset({KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG, KafkaError.INVALID_TIMESTAMP})
_MISCONFIGURED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user needs the right to write to the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user needs IdempotentWrite on the cluster (before Kafka 2.8)",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the user may not do this",
    KafkaError.SASL_AUTHENTICATION_FAILED: "is the password right?",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "the brokers have another mechanism",
    KafkaError.ILLEGAL_SASL_STATE: "is there a SASL listener on that port?",
    KafkaError._AUTHENTICATION: "is the password right, and the mechanism?",
    KafkaError._SSL: "is TLS spoken on that port, and is the certificate accepted?",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic, or let brokers create topics",
    KafkaError._UNKNOWN_TOPIC: "create the topic, or let brokers create topics",
    KafkaError._UNKNOWN_PARTITION: "create the topic, or let brokers create topics",
    KafkaError.TOPIC_EXCEPTION: "is it a topic that may be written to?",
    KafkaError.POLICY_VIOLATION: "a policy of the cluster forbids it",
    KafkaError.INVALID_REQUIRED_ACKS: "the cluster does not take acks=all",
    KafkaError.UNSUPPORTED_VERSION: "the brokers are older than Kafka 0.11",
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: "the brokers are older than that compression (zstd: Kafka 2.1)",
    KafkaError._UNSUPPORTED_FEATURE: "the brokers are older than what is asked for",
}
_NOBODY = frozenset({KafkaError._RESOLVE, KafkaError._TRANSPORT})
_HUNG_UP = "connections are closed without a word; is it a port of Kafka's, and does it want TLS?"
_ANOTHER_PROTOCOL = ("invalid response size", "http", "invalid apiversion")


def meaning(error: KafkaError, where: str) -> DeliveryError:
    """What it means that a message was not taken for this reason."""
    code = error.code()
    reason = f"{where}: {excerpt(error.str())} ({error.name()})"
    if code in _TOO_LARGE:
        return TooLarge(reason)
    if code in _CONTENT:
        return Rejected(reason)
    if code in _MISCONFIGURED:
        return Unusable(f"{reason}; {_MISCONFIGURED[code]}")
    return Retryable(reason)


def of_connection(error: KafkaError) -> str:
    """What an error says of the connection to one broker; empty when it is about something else."""
    return excerpt(error.str()) if error.code() in _NOBODY else ""


def trouble(error: KafkaError, where: str, before: str = "") -> DeliveryError | None:
    """What an error that is about no message says of the whole destination; None when it may pass by itself.

    ``before``: what was last said of a connection. That all brokers are down comes after it, and says nothing of why.
    """
    said = error.str().lower()
    if error.code() == KafkaError._ALL_BROKERS_DOWN:
        return Retryable(f"{where}: no broker can be reached: {before or _HUNG_UP}")
    if any(word in said for word in _ANOTHER_PROTOCOL):
        return Unusable(f"{where}: does not speak Kafka: {excerpt(error.str())}")
    if error.code() in _MISCONFIGURED or error.code() in _NOBODY:
        return meaning(error, where)
    return None
