"""What an answer to a bulk request means, as a whole and for each document.

Elasticsearch and OpenSearch answer 200 as soon as they understood the request, and say of each document what became of it. Their
errors have a type (``mapper_parsing_exception``) that tells more than the status: a full disk is 429 in one version and 403 in
another. As everywhere nothing is given up for what a person can mend.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._http.answers import is_web_page, phrase
from shipper_exporters._http.client import Answer
from shipper_exporters._http.exchange import excerpt, retry_after

MAX_ANSWER = 64 << 20

_LATER = frozenset({408, 425, 429})
_HOLD_TYPES = frozenset(
    {
        "cluster_block_exception",  # read-only: by a person, or because the disk is nearly full
        "index_closed_exception",
        "index_create_block_exception",
        "index_not_found_exception",
        "invalid_alias_name_exception",
        "invalid_index_name_exception",
        "resource_not_found_exception",
        "security_exception",
    }
)
_HOLD_WORDS = re.compile(
    r"pipeline with id \[|no write index is defined|not a data stream|\[require_(data_stream|alias)\]"
    r"|maximum (normal |frozen )?shards|explicit index in bulk is not allowed|unrecognized parameter"
    r"|only write ops with an op_type of create are allowed|no handler found|action_auto_create_index|auto_create_index"
    r"|multiple indices|op_type=create targeting backing indices"
    r"|_id must be unset|in time_series mode|find dynamic template"  # metrics, where it was not told what version it is
)
_CONTENT_TYPES = frozenset(  # about the document, though some come with status 500
    {
        "fail_processor_exception",
        "ingest_processor_exception",
        "mapper_parsing_exception",
        "document_parsing_exception",
        "script_exception",
        "strict_dynamic_mapping_exception",
    }
)
_ADVICE = {
    401: " (is the key or password right, and not expired?)",
    403: " (it needs the privileges create_doc and auto_configure on the data streams)",
    404: " (is it the URL of the cluster, and is there an index template for the data stream?)",
}


class Fate(Enum):
    """What became of one document."""

    STORED = "stored"
    THERE = "there already"
    REFUSED = "refused for good"
    AGAIN = "to be sent again"
    HELD = "held until somebody mends something"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of one document, and ``why`` unless it is stored."""

    fate: Fate
    why: str = ""


STORED = Outcome(Fate.STORED)
THERE = Outcome(Fate.THERE)


class _Item(msgspec.Struct):
    status: int = 0
    id: str | None = msgspec.field(default="", name="_id")  # null where it never came to making one
    error: Any = None
    failure_store: str | None = ""


class _Bulk(msgspec.Struct):
    items: list[dict[str, _Item]]
    errors: bool


_decode = msgspec.json.Decoder(_Bulk).decode


def outcomes(answer: Answer, ids: Iterator[tuple[str, str]], count: int, where: str, wall_ns: int) -> list[Outcome]:
    """What became of each of ``count`` documents, whose ids were ``ids`` (nothing when they were not ours to choose).

    Raises `Retryable`, `Unusable`, `TooLarge` or `Rejected` when none of them was taken, and `Unusable` when the answer is not one to
    this request.
    """
    named = f"{where} answered {phrase(answer.status)}"
    if not 200 <= answer.status < 300:
        raise _failure(answer, named, wall_ns)
    try:
        bulk = _decode(answer.body)
        results = [item["create"] for item in bulk.items]
    except (msgspec.MsgspecError, KeyError, RecursionError):
        if len(answer.body) > MAX_ANSWER:
            raise Unusable(f"{named} with more than {MAX_ANSWER} bytes") from None
        raise Unusable(
            f"{named} with something that is no answer to a bulk request: {excerpt(answer.body, 80)}"
        ) from None
    if len(results) != count:
        raise Unusable(f"{named} for {len(results)} documents where {count} were sent")
    expected = [one for _, one in ids]
    found = [result.id for result in results]
    if expected and found != expected:
        sent, got = next((ours, theirs) for ours, theirs in zip(expected, found, strict=True) if ours != theirs)
        raise Unusable(f"{named} for another document ({excerpt(str(got), 80)}) where {sent} was sent")
    return [STORED if result.status == 201 and not result.failure_store else _outcome(result) for result in results]


def _outcome(result: _Item) -> Outcome:
    status = result.status
    if 200 <= status < 300:
        if result.failure_store == "used":
            return Outcome(Fate.REFUSED, "it was put into the failure store, since it does not fit the data stream")
        return STORED
    if status == 409:
        return THERE
    kind, reason = said(result.error)
    why = f"{status} {kind}: {reason}" if kind else f"{status} {reason}"
    if _is_held(status, kind, reason):
        return Outcome(Fate.HELD, why)
    if kind in _CONTENT_TYPES:
        return Outcome(Fate.REFUSED, why)
    if status in _LATER or status >= 500 or status < 400:
        return Outcome(Fate.AGAIN, why)
    return Outcome(Fate.REFUSED, why)


def said(error: Any) -> tuple[str, str]:
    """Type and reason of an error, with the reason of its cause when that says more."""
    if not isinstance(error, dict):
        return "", excerpt(str(error)) if error else "no reason given"
    reason = excerpt(str(error.get("reason") or ""))
    cause = error.get("caused_by")
    if isinstance(cause, dict) and cause.get("reason") and str(cause["reason"]) not in reason:
        reason = f"{reason}: {excerpt(str(cause['reason']))}"
    return excerpt(str(error.get("type") or ""), 80), reason or "no reason given"


def _is_held(status: int, kind: str, reason: str) -> bool:
    if kind == "cluster_block_exception":
        return status < 500  # with 503 the cluster has no master or is starting
    return status in (401, 403, 404) or kind in _HOLD_TYPES or bool(_HOLD_WORDS.search(reason))


def _failure(answer: Answer, named: str, wall_ns: int) -> DeliveryError:
    """What a status other than 2xx means."""
    status = answer.status
    kind, reason = said(_error(answer.body))
    told = f"{named}: {kind}: {reason}" if kind else f"{named}: {excerpt(answer.body) or 'no reason given'}"
    if 300 <= status < 400:
        to = excerpt(answer.headers.get("Location", "")) or "nowhere"
        return Unusable(f"{named}, which leads to {to}; if that is right, make it the endpoint")
    if status == 413:
        return TooLarge(told)
    if kind == "cluster_block_exception" and status < 500:
        return Unusable(told)
    if status in _LATER or status >= 500:
        # One that was too much was not begun; after any other answer some of it may have been stored.
        return Retryable(told, retry_after(answer.headers, wall_ns), unsent=status == 429)
    if is_web_page(answer):
        page = excerpt(answer.body, 80)
        return Unusable(f"{named} with a web page: something else is there, or in between; it begins: {page}")
    if status == 400 and kind and not _is_held(status, kind, reason):
        return Rejected(told)
    return Unusable(told + _ADVICE.get(status, ""))


def _error(body: bytes) -> Any:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return found.get("error") if isinstance(found, dict) else None
