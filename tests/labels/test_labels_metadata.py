"""Asking a metadata service over real sockets: small, bounded, unmoved by whatever answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.labels.cloud import remote, tags
from shipper.labels.detect import detect
from shipper.labels.finding import Surroundings
from shipper.labels.metadata import MAX_BODY, Answer, Metadata, NoMetadata, text_of
from shipper.labels.platform import PLATFORMS, Network

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Server:
    """Serves each connection with a function, one after the other, in a thread."""

    def __init__(self, serve: Callable[[socket.socket, Server], None]) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.stopped = threading.Event()
        self.connections = 0
        self._serve = serve
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                with connection, suppress(OSError):
                    self._serve(connection, self)

    def stop(self) -> None:
        self.stopped.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket, Server], None]], Server]]:
    """Starts servers, and stops them in the end."""
    servers: list[Server] = []

    def start(function: Callable[[socket.socket, Server], None]) -> Server:
        servers.append(Server(function))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def always(answer: bytes) -> Callable[[socket.socket, Server], None]:
    """Gives the same answer to every request of a connection."""

    def function(connection: socket.socket, server: Server) -> None:
        while connection.recv(65536):
            connection.sendall(answer)

    return function


def drop_by_drop(head: bytes, piece: bytes) -> Callable[[socket.socket, Server], None]:
    """A piece every 20 ms, for ever: each read of a client succeeds, the answer never ends."""

    def function(connection: socket.socket, server: Server) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while not server.stopped.wait(0.02):
            connection.sendall(piece)

    return function


def test_several_items_take_one_connection(serve) -> None:
    """The service throttles by instance; connecting anew for each item would be noticed."""
    server = serve(always(OK))
    service = Metadata(server.url, 30)
    assert [service.text(f"/{number}") for number in range(5)] == ["hi"] * 5
    assert server.connections == 1
    service.close()


def test_a_connection_that_was_closed_in_between_is_opened_again(serve) -> None:
    """Servers may close after each answer, announced or not."""

    def once(connection: socket.socket, server: Server) -> None:
        connection.recv(65536)
        connection.sendall(OK)

    server = serve(once)
    service = Metadata(server.url, 30)
    assert [service.text("/a"), service.text("/b")] == ["hi", "hi"]
    service.close()


def test_proxies_of_the_environment_are_not_used(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metadata service is asked directly, or it would speak of the proxy's machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    service = Metadata(serve(always(OK)).url, 30)
    assert service.text("/") == "hi"
    service.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe", "something else than text"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\nb", "something else than one line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, "something else than one line"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "a web page"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (MAX_BODY + 1), "more than 64 KiB"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
    ],
)
def test_what_is_no_line_of_text_is_said(serve, answer: bytes, why: str) -> None:
    """Another protocol, endless heads, binary, several lines, pages: a sentence each, at once."""
    with closing(Metadata(serve(always(answer)).url, 30)) as service, pytest.raises(NoMetadata, match=why):
        service.text("/")


def test_an_item_that_is_not_there_is_empty_whatever_page_comes_with_it(serve) -> None:
    """404 is an answer: nothing. Its body is never looked at."""
    service = Metadata(serve(always(b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>")).url, 30)
    assert service.text("/") == ""
    assert service.text("/") == ""
    service.close()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    ],
)
def test_an_answer_that_comes_drop_by_drop_does_not_hold_anything_up(
    serve, tmp_path: Path, head: bytes, piece: bytes
) -> None:
    """Each drop restarts a socket's time-out, so the bound stands outside; and the thread that waits is let go."""
    server = serve(drop_by_drop(head, piece))
    identity = detect(None, {}, str(tmp_path), network=Network({"hetzner": server.url}, seconds=0.3))
    assert identity.problems[0].startswith(f"hetzner: {server.url} ")
    for thread in threading.enumerate():
        if thread.name == "shipper-asks-hetzner":
            thread.join(30)
            assert not thread.is_alive()


def test_nothing_that_listens_is_tried_until_the_time_is_over(tmp_path: Path) -> None:
    """Refused is refused; there may be a service a moment later, so only the bound ends it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    identity = detect(None, {}, str(tmp_path), network=Network({"hetzner": f"127.0.0.1:{port}"}, seconds=0.3))
    assert "cannot be reached (Connection refused)" in identity.problems[0]


@pytest.mark.parametrize("text", ["tök€n", "a b", "\u2028"])
def test_what_a_service_says_may_not_fit_into_a_request(serve, text: str) -> None:
    """A token or a tag's name that no header and no path can carry is a sentence."""
    with closing(Metadata(serve(always(OK)).url, 30)) as service:
        with pytest.raises(NoMetadata):
            service.text(f"/{text}€")
        with pytest.raises(NoMetadata):
            service.text("/", {"X-Token": f"{text}€"})


def test_values_of_the_wrong_type_are_not_there() -> None:
    """Numbers are ids; lists, truths and unprintable texts are nothing."""
    content = {"a": {"b": 5, "c": True, "d": ["x"], "e": "x\n\x00", "f": " y "}, "g": 1.5}
    found = [text_of(content, "a", key) for key in "bcdef"]
    assert found == ["5", "", "", "", "y"]
    assert [text_of(content, "g"), text_of(content, "g", "h"), text_of(content, "z", "z")] == ["", "", ""]


def test_tags_state_labels_in_every_spelling_a_platform_allows() -> None:
    """Other tags, other separators and unknown labels are somebody else's."""
    names = ["shipper:generation", "SHIPPER_RELEASE", "shipper-environment", "shipper.image"]
    assert tags.wanted([*names, "shipper", "shipper:", "shipper/host", "shipper:colour", "myshipper:host"]) == names
    (one,) = tags.candidates({"Shipper:Generation": " g ", "Name": "x"}, "tag")
    assert (one.label, one.value, one.place) == ("generation", "g", "tag Shipper:Generation")


class Canned(Metadata):
    """Answers everything with the same body."""

    def __init__(self, body: bytes) -> None:
        super().__init__("http://127.0.0.1", 30)
        self.body = body

    def ask(self, method: str, path: str, headers: Mapping[str, str], *, within: float | None = None) -> Answer:
        return Answer(200, {"metadata-flavor": "Google"}, self.body)


_TASK = ("TaskARN", "Containers", "Image", "ImageID", "Labels", "Name", "Cluster")
_MACHINE = ("vmId", "storageProfile", "imageReference", "id", "tagsList", "name", "version", "uuid", "meta", "imageId")
_KEYS = st.sampled_from((*_TASK, *_MACHINE))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just("arn:aws:ecs:r:1:task/c/t"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize("name", [one.name for one in PLATFORMS if one.service or one.overrides])
def test_answers_of_any_shape_are_findings_or_a_sentence(name: str) -> None:
    """Whatever JSON or text comes: no exception but the one that says why, and nothing in the findings but plain values."""

    @settings(max_examples=60, deadline=None)
    @given(_JSON.map(json.dumps) | st.text(max_size=40))
    def check(body: str) -> None:
        findings = []
        with suppress(NoMetadata):
            findings += remote(name).ask(Surroundings("/nowhere", {}), Canned(body.encode("utf-8", "replace")))
        for finding in findings:
            assert all(isinstance(one.value, str) for one in finding.candidates)
            assert all(isinstance(value, str) and value for value in finding.attributes.values())

    check()
