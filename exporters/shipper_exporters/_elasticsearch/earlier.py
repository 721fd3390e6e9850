"""Whether what is sent again arrived before a roll-over.

A data stream is many indices, and ``create`` finds an id only in the one that is written to now. When an answer got lost and the
stream rolled over before the request is sent again, its documents would be stored twice. So after a lost answer the indices just
before are asked for these ids; getting by id sees what searching does not see yet. That takes the privileges ``view_index_metadata``
and ``read``; without them, or on a plain index, the ids of the newest index are all that protects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import TypeVar

import msgspec

from shipper.clock import Deadline
from shipper.errors import Retryable
from shipper_exporters._elasticsearch.nodes import Nodes
from shipper_exporters._http.client import Answer, Content, shown

_LOOK_BACK = 2  # indices before the newest: nobody rolls over more often while one request is tried
_MOST_INDICES = 4 << 20
_MOST_FOUND = 64 << 20
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


class _Index(msgspec.Struct):
    index_name: str


class _Stream(msgspec.Struct):
    indices: list[_Index]


class _Streams(msgspec.Struct):
    data_streams: list[_Stream]


class _Document(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    found: bool = False


class _Documents(msgspec.Struct):
    docs: list[_Document]


async def earlier(nodes: Nodes, ids: Iterable[tuple[str, str]], deadline: Deadline) -> Collection[str]:
    """Those of these ids (with the data stream of each) that an index before the newest has.

    Raises `Retryable` when that cannot be told now.
    """
    by_stream: defaultdict[str, list[str]] = defaultdict(list)
    for stream, one in ids:
        by_stream[stream].append(one)
    found: set[str] = set()
    for stream, wanted in by_stream.items():
        for index in await _before(nodes, stream, deadline):
            content = Content(_encode({"ids": wanted}), "application/json")
            query = {"_source": "false", "filter_path": "docs._id,docs.found"}
            answer, url = await nodes.call("POST", (index, "_mget"), query, deadline, _MOST_FOUND, content)
            documents = _read(answer, _Documents, shown(url))
            found.update(document.id for document in (documents.docs if documents else ()) if document.found)
    return found


async def _before(nodes: Nodes, stream: str, deadline: Deadline) -> list[str]:
    query = {"filter_path": "data_streams.indices.index_name"}
    answer, url = await nodes.call("GET", ("_data_stream", stream), query, deadline, _MOST_INDICES)
    streams = _read(answer, _Streams, shown(url))
    return [index.index_name for one in (streams.data_streams if streams else ()) for index in one.indices[:-1]][
        -_LOOK_BACK:
    ]


def _read(answer: Answer, kind: type[_T], where: str) -> _T | None:
    """What was asked for; None when it may not be known. Raises `Retryable` when it cannot be told now."""
    if answer.status >= 500 or answer.status in (408, 425, 429):
        raise Retryable(f"{where} answered {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=kind) if answer.status == 200 else None
    except (msgspec.MsgspecError, RecursionError):
        return None
