"""Whatever a backend answers instead of an answer is one sentence, and never a count."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from shipper.errors import ConfigError
from shipper.fleet.backends.asking import Asker, Patience
from shipper.fleet.backends.datadog import Datadog
from shipper.fleet.backends.elasticsearch import Elasticsearch
from shipper.fleet.backends.loki import Loki
from shipper.fleet.backends.model import Backend, Secrets, Span
from shipper.fleet.backends.splunk import Splunk
from shipper.fleet.questions import NoAnswer
from tests.exporters.datadog_intake import Intake
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.loki_server import FakeLoki
from tests.exporters.splunk_hec import HecServer
from tests.exporters.tls_kit import Authority
from tests.fleet.backend_kit import BORN, NOW, Asked, QueryServer, Reply, life
from tests.fleet.backend_queries import APP_KEY, DatadogQueries, ElasticQueries, LokiQueries, SplunkQueries

MAKERS: dict[str, tuple[Callable[..., Backend], Callable[[], Callable[[Asked], Reply]]]] = {
    "loki": (Loki, lambda: LokiQueries(FakeLoki(NOW))),
    "elasticsearch": (Elasticsearch, lambda: ElasticQueries(FakeElastic())),
    "splunk": (Splunk, lambda: SplunkQueries(HecServer())),
    "datadog": (Datadog, lambda: DatadogQueries(Intake())),
}
HTML = {"Content-Type": "text/html; charset=utf-8"}
TEXT = {"Content-Type": "text/plain"}
FAULTS: dict[str, tuple[Reply, str]] = {
    "401": (Reply(401, b'{"errors":["Unauthorized"]}'), r"answered 401: Unauthorized \(.*wants|are both keys"),
    "403": (Reply(403, b'{"error":{"type":"security_exception","reason":"no read"}}'), r"answered 403: no read \("),
    "404": (Reply(404, b"404 page not found", TEXT), r"answered 404: 404 page not found \(is this the right address"),
    "400": (
        Reply(400, b'{"messages":[{"type":"FATAL","text":"Unknown search command"}]}'),
        "400: Unknown search command",
    ),
    "500": (Reply(500, b"panic: runtime error\n", TEXT), "answered 500: panic: runtime error"),
    "another's page": (Reply(404, b"<html>Not here</html>", HTML), r"answered 404: a web page \(is this"),
    "redirect": (
        Reply(302, b"", {"Location": "https://login.example/"}),
        "sends us on to https://login.example/: give that",
    ),
    "web page": (Reply(200, b"<html>Sign in</html>", HTML), "answers with a web page"),
    "no JSON": (Reply(200, b"ok", TEXT), "something else than JSON objects: 'ok'"),
    "a list": (Reply(200, b"[]"), "something else than JSON objects"),
    "another's answer": (Reply(200, {"hello": "world"}), "does not answer as .* does: .*hello"),
    "cut off": (Reply(200, b'{"status":"success"', cut=True), "cannot be asked|broke off|something else"),
}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("DD_APP_KEY", APP_KEY)


@pytest.fixture
def secrets(tmp_path: Any) -> Secrets:
    token = tmp_path / "token"
    token.write_text("search-token\n")
    return Secrets(token_file=str(token))


def questions(backend: Backend) -> dict[str, Callable[[], object]]:
    """Both that can be asked."""
    return {
        "statements": lambda: list(backend.statements(BORN, NOW)),
        "counts": lambda: backend.counts([Span(life(1), BORN, NOW)]),
    }


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_answer(kind: str, fault: str, secrets: Secrets) -> None:
    """Refusals, other places and broken answers are said in a sentence that names the backend, for either question."""
    make, queries = MAKERS[kind]
    reply, said = FAULTS[fault]
    with QueryServer(queries()) as server:
        for ask in questions(make(server.url, secrets)).values():
            server.script = [reply, reply]  # Splunk is asked at two places
            with pytest.raises(NoAnswer, match=said) as problem:
                ask()
            assert server.url in str(problem.value)
            assert "search-token" not in str(problem.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_busy_backend_is_asked_again(kind: str, secrets: Secrets) -> None:
    """A backend that is busy is asked again when it says, else after longer and longer; in the end it is said."""
    make, queries = MAKERS[kind]
    waits: list[float] = []
    told: list[str] = []
    patience = Patience(sleep=waits.append, tell=told.append)
    with QueryServer(queries()) as server:
        backend = make(server.url, secrets, patience=patience)
        server.script = [
            Reply(429, b"", {"Retry-After": "7"}),
            Reply(429, b"", {"X-RateLimit-Reset": "42"}),
            Reply(503, b"starting", TEXT),
        ]
        questions(backend)["counts"]()
        assert waits == [7, 42, 4]
        assert told[0] == f"{server.url} answered 429: asking again in 7 s"
        server.script = [Reply(429, b"too many outstanding requests", TEXT)] * 6
        with pytest.raises(NoAnswer, match=r"answered 429: too many outstanding requests \(still busy after all tries"):
            questions(backend)["statements"]()
        server.script = [Reply(429, b"", {"X-RateLimit-Reset": "3600"})]
        with pytest.raises(NoAnswer, match="asked again in 3600 s"):
            questions(backend)["statements"]()


PARTS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "loki": [
        (
            {"status": "success", "data": {}, "warnings": ["max series"]},
            "warns that its answer may not be whole.*max series",
        ),
    ],
    "elasticsearch": [
        (
            {"_shards": {"failed": 1, "failures": [{"reason": "x"}]}, "hits": {"hits": []}},
            "a part of its answer only.*x",
        ),
        ({"_shards": {"failed": 0}, "timed_out": True, "hits": {"hits": []}}, "a part of its answer only.*out of time"),
    ],
    "splunk": [
        ({"preview": False, "messages": [{"type": "ERROR", "text": "peer down"}]}, "could not answer: peer down"),
    ],
    "datadog": [
        ({"data": [], "meta": {"status": "timeout"}}, "a part of its answer only: status 'timeout'"),
    ],
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_part_of_an_answer_is_none(kind: str, secrets: Secrets) -> None:
    """Numbers that may be too small are not used."""
    make, queries = MAKERS[kind]
    with QueryServer(queries()) as server:
        for body, said in PARTS[kind]:
            for ask in questions(make(server.url, secrets)).values():
                server.script = [Reply(body=body)]
                with pytest.raises(NoAnswer, match=said):
                    ask()


def test_warnings_are_handed_on(secrets: Secrets) -> None:
    """What Splunk and Datadog warn of is said with the report."""
    queries = SplunkQueries(HecServer())
    queries.messages = [{"type": "WARN", "text": "index x is being rebuilt"}, {"type": "INFO", "text": "nothing"}]
    with QueryServer(queries) as server:
        splunk = Splunk(server.url, secrets)
        list(splunk.statements(BORN, NOW))
        assert splunk.remarks == ["Splunk warns: index x is being rebuilt"]
        datadog = Datadog(server.url, Secrets())
        server.script = [Reply(body={"data": [], "meta": {"status": "done", "warnings": [{"title": "unknown index"}]}})]
        list(datadog.statements(BORN, NOW))
        assert "unknown index" in datadog.remarks[0]


def test_no_answer_in_time() -> None:
    """A backend that says nothing, or a byte now and then, is not waited for for ever."""
    with QueryServer(lambda asked: Reply(held=True)) as server:
        with pytest.raises(NoAnswer, match=r"did not answer within 0\.05 s; give it longer by --timeout"):
            list(Loki(server.url, Secrets(), patience=Patience(0.05)).statements(BORN, NOW))
        server.answer = LokiQueries(FakeLoki(NOW))
        times = iter(range(0, 10_000, 100))
        slow = Patience(60, now=lambda: next(times))
        with pytest.raises(NoAnswer, match="did not answer within 60 s"):
            list(Loki(server.url, Secrets(), patience=slow).statements(BORN, NOW))


def test_nobody_there() -> None:
    """A port on which nobody listens is said."""
    with QueryServer(lambda asked: Reply()) as server:
        url = server.url
    with pytest.raises(NoAnswer, match=f"{url} cannot be asked: .*refused"):
        list(Loki(url, Secrets()).statements(BORN, NOW))


def test_whom_to_trust(tmp_path: Any) -> None:
    """A backend with certificates of its own is trusted by --ca-file, and else the way out is said."""
    authority = Authority(tmp_path / "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("loki"))
    with QueryServer(LokiQueries(FakeLoki(NOW)), tls=context) as server:
        assert list(Loki(server.url, Secrets(), ca_file=str(authority.ca)).statements(BORN, NOW)) == []
        with pytest.raises(NoAnswer, match=r"certificate.*; name whom to trust by --ca-file"):
            list(Loki(server.url, Secrets()).statements(BORN, NOW))


def test_more_statements_of_one_moment_than_fit(secrets: Secrets) -> None:
    """Paging by time says when a moment has more than a page, and goes round in no circle."""

    def loki(asked: Asked) -> Reply:
        values = [[str(NOW), f"{n}"] for n in range(int(asked.query["limit"]))]
        result = [{"stream": {}, "values": values}]
        return Reply(body={"status": "success", "data": {"resultType": "streams", "result": result}})

    def elastic(asked: Asked) -> Reply:
        hits = [{"_id": f"{n}", "_source": {}, "sort": [NOW // 1_000_000]} for n in range(asked.body["size"])]
        return Reply(body={"_shards": {"failed": 0}, "hits": {"hits": hits}})

    for make, answer in ((Loki, loki), (Elasticsearch, elastic)):
        with QueryServer(answer) as server:
            with pytest.raises(NoAnswer, match="more statements of one moment than it lists"):
                list(make(server.url, secrets).statements(BORN, NOW + 1))
            assert len(server.asked) < 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Loki("loki:3100", Secrets()), "--loki: 'loki:3100' is no URL"),
        (lambda: Loki("http://u:p@loki", Secrets()), "--loki: has a password in it"),
        (lambda: Loki("http://loki", Secrets(), selector="checkout"), "--selector: 'checkout' is no stream selector"),
        (lambda: Loki("http://loki", Secrets(token_file="/none")), "--token-file: /none: No such file"),
        (lambda: Loki("https://loki", Secrets(), ca_file="/none"), "--ca-file: /none: No such file"),
        (lambda: Elasticsearch("http://es", Secrets(), indexes=["a b"]), "--index: 'a b' is no name of an index"),
        (lambda: Splunk("http://s", Secrets(), indexes=["x | delete"]), "--index: 'x | delete' is no name"),
        (lambda: Datadog("nowhere", Secrets()), "--datadog: 'nowhere' is no Datadog site"),
    ],
)
def test_options_that_cannot_be(make: Callable[[], object], said: str) -> None:
    """What cannot work is said before anything is asked."""
    with pytest.raises(ConfigError, match=said.replace("|", r"\|")):
        make()


def test_credentials(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, passwords and keys go out as each backend wants them; a key as ``id:key`` is encoded."""
    file = tmp_path / "secret"
    file.write_text("id:key\n")
    monkeypatch.setenv("ELASTIC_API_KEY", "from-the-environment")
    path = str(file)
    with QueryServer(lambda asked: Reply(404)) as server:
        for backend in (
            Loki(server.url, Secrets(token_file=path), tenant="team"),
            Elasticsearch(server.url, Secrets(username="u", password_file=path)),
            Elasticsearch(server.url, Secrets(api_key_file=path)),
            Elasticsearch(server.url, Secrets()),
            Datadog(server.url, Secrets(api_key_file=str(tmp_path / "secret"))),
        ):
            with pytest.raises(NoAnswer):
                list(backend.statements(BORN, NOW))
        sent = [asked.headers for asked in server.asked]
    assert (sent[0]["authorization"], sent[0]["x-scope-orgid"]) == ("Bearer id:key", "team")
    assert [one["authorization"] for one in sent[1:4]] == [
        "Basic dTppZDprZXk=",
        "ApiKey aWQ6a2V5",
        "ApiKey from-the-environment",
    ]
    assert (sent[4]["dd-api-key"], sent[4]["dd-application-key"]) == ("id:key", APP_KEY)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="must hold one secret"):
        Loki("http://loki", Secrets(token_file=path))
    monkeypatch.delenv("DD_APP_KEY")
    with pytest.raises(ConfigError, match="--app-key-file: is missing, and DD_APP_KEY is not set"):
        Datadog("datadoghq.eu", Secrets())


def test_sites_of_datadog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site is the one given, else that of the environment, else the first one."""
    monkeypatch.setenv("DD_SITE", "us5.datadoghq.com")
    assert Datadog("datadoghq.eu", Secrets()).name == "Datadog at https://api.datadoghq.eu"
    assert Datadog("", Secrets()).name == "Datadog at https://api.us5.datadoghq.com"
    monkeypatch.delenv("DD_SITE")
    assert Datadog("", Secrets()).name == "Datadog at https://api.datadoghq.com"


def test_an_answer_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could hold in memory is not read to its end."""
    monkeypatch.setattr("shipper.fleet.questions.LARGEST", 1000)
    with QueryServer(lambda asked: Reply(body=b" " * 5000)) as server:
        asker = Asker(server.url, {}, option="--loki", mend="")
        with pytest.raises(NoAnswer, match="answers with more than"):
            asker.get("/x", {})
