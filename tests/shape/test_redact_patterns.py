"""What is a secret and what only looks like one."""

from __future__ import annotations

from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined] # what `re` itself makes of an expression
from typing import Any

import pytest

from shipper.shape.redact import Redaction
from shipper.shape.redact_match import OwnPattern
from shipper.shape.redact_patterns import KINDS, KNOWN, SECRET_NAMES, STEMS, Way
from shipper.shape.redact_regex import compiled, without_assertions

EVERY = Redaction(KINDS)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"


def masked(text: str, redaction: Redaction = EVERY) -> str:
    """The text with ~ where it was masked: asterisks may have been there before."""
    made = redaction.text(text.encode()).data
    assert len(made) == len(text.encode())
    pairs = zip(text.encode(), made, strict=True)
    return bytes(new if old == new else ord("~") for old, new in pairs).decode()


def hidden(text: str, redaction: Redaction = EVERY) -> str:
    """What was masked, without what was not."""
    made = redaction.text(text.encode()).data
    return bytes(old for old, new in zip(text.encode(), made, strict=True) if old != new).decode()


SECRETS = {
    "Authorization: Bearer abcdef0123456789": "abcdef0123456789",
    "bearer mF_9.B5f-4.1JqM": "mF_9.B5f-4.1JqM",
    "proxy said basic dXNlcjpwYXNz": "dXNlcjpwYXNz",
    "Authorization: Basic dXNlcjpwYXNz": "dXNlcjpwYXNz",
    f"session {JWT} began": JWT,
    f"x\\n{JWT}": JWT,
    f"id={JWT}.": f"{JWT}.",
    "push with ghp_16C7e42F292c6912E7710c838347Ae178B4a": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0123456789_abcdefg": "github_pat_11ABCDEFG0123456789_abcdefg",
    "clone with glpat-abcDEF1234567890_xyz": "glpat-abcDEF1234567890_xyz",
    "xoxb-123456789012-abcdefGHIJKL": "xoxb-123456789012-abcdefGHIJKL",
    "POST https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXX": "T000/B000/XXXXXXXXXXXXXXXX",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789": "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu": "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "SG.abcdefghijklmnop.qrstuvwxyz0123456": "SG.abcdefghijklmnop.qrstuvwxyz0123456",
    "key AKIAIOSFODNN7EXAMPLE": "AKIAIOSFODNN7EXAMPLE",
    "AKIAIOSFODNN7EXAMPLE / wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": (
        "AKIAIOSFODNN7EXAMPLEwJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    ),
    "-----BEGIN RSA PRIVATE KEY-----\nMII\nab=\n-----END RSA PRIVATE KEY-----\nafter": "\nMII\nab=\n",
    "-----BEGIN PRIVATE KEY-----\\nMIIEvQ": "\\nMIIEvQ",
    "postgres://app:s3cr@t@db:5432/shop": "s3cr@t",
    "password=hunter2 user=x": "hunter2",
    "DB_PASSWORD=hunter2": "hunter2",
    "password: correct": "correct",
    "passwd => 'two words' end": "two words",
    "GET /reset?token=abc&next=1": "abc",
    '{"password": "hun\\"ter2", "user": "x"}': 'hun\\"ter2',
    r'{"log":"{\"password\":\"hunter2\",\"a\":1}"}': "hunter2",
    r'{"log":"{\"password\":\"a\\\"b\"}"}': r"a\\\"b",
    '"x-api-key": "k1"': "k1",
    "headers['Authorization'] = 'Bearer abc'": "Bearer abc",
    "Cookie: sid=31d4d96e407aad42; theme=dark": "sid=31d4d96e407aad42",
    "mysql --password hunter2 -u root": "hunter2",
    "password=Grüße, bitte": "Grüße",
    "mail bob.smith+x@mail.example.com now": "bob.smith+x@mail.example.com",
    "to=bob%40example.com&": "bob%40example.com",
    "card 4111 1111 1111 1111 ok": "4111 1111 1111 1111",
    "card 42 4111-1111-1111-1111.": "4111-1111-1111-1111",
    "1234 4111 1111 1111 1111": "4111 1111 1111 1111",
    "4222222222222 378282246310005 3782 822463 10005": "42222222222223782822463100053782 822463 10005",
    "\\n5555555555554444": "5555555555554444",
    "IBAN DE89 3704 0044 0532 0130 00 AND MORE": "DE89 3704 0044 0532 0130 00",
    "GB29NWBK60161331926819": "GB29NWBK60161331926819",
    "ssn 078-05-1120.": "078-05-1120",
}


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked_and_nothing_beside_it(text: str) -> None:
    """Each of these holds exactly what is masked of it."""
    assert hidden(text) == SECRETS[text]


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication and bearer tokens are supported",
        "max_tokens: many, tokens=5",
        "password required",
        "token_type=bearer",
        "install react@18.2.0 from git@github",
        "https://example.com/a?b=c @home",
        "at 2026-11-23 17:17:29.123 took 1795399200001 ms",
        "4111 1111 1111 1112 and 41111111111111111111",
        "0.4111111111111111",
        "a4111111111111111",
        "order 1795399200001000000",
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456 666-12-3456 987-65-4321 1078-05-1120",
        "-----BEGIN CERTIFICATE-----\nMIIE",
        "eyJust.a.name",
        "ASIA/Tokyo, AKIA",
        "sk-learn, msg.text, ghp_short",
        "password=***",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    """Words about secrets, times, numbers without a right check digit."""
    assert masked(text) == text


@pytest.mark.parametrize("text", SECRETS)
def test_masking_what_is_masked_changes_and_counts_nothing(text: str) -> None:
    """A gateway that masks what a sidecar has masked finds nothing in it."""
    once = EVERY.text(text.encode()).data
    again = EVERY.text(once)
    assert (again.data, again.counts) == (once, {})


def test_only_the_kinds_that_were_chosen_are_masked() -> None:
    """Each kind is a choice of its own."""
    text = f"{JWT} bob@example.com 4111111111111111"
    assert hidden(text, Redaction(["email"])) == "bob@example.com"
    assert hidden(text, Redaction(["cards"])) == "4111111111111111"
    assert hidden(text, Redaction(["tokens"])) == JWT


def test_what_was_masked_is_counted_by_the_name_of_its_pattern() -> None:
    """Two addresses and a card are two and one."""
    counts = EVERY.text(b"a@example.com b@example.com 4111111111111111").counts
    assert counts == {"email": 2, "card": 1}


def test_a_pattern_of_ones_own_masks_its_group() -> None:
    """The rest of the match stays, and so does what only the group would match."""
    own = Redaction([], [OwnPattern("customer", r"\bcustomer[= ](\d+)\b", 1), OwnPattern("name", "ü+")])
    assert masked("customer=123 customers=4 5 xüü", own) == "customer=~~~ customers=4 5 x~~~~"
    assert own.text("customer 7 ü".encode()).counts == {"customer": 1, "name": 1}


def test_a_pattern_that_matches_part_of_a_character_masks_all_of_it() -> None:
    """What is left is valid UTF-8."""
    own = Redaction([], [OwnPattern("byte", r"a\C")])
    assert own.text("aü b".encode()).data == b"*** b"


@pytest.mark.parametrize(
    ("pattern", "group", "problem"),
    [
        ("(", 0, "missing"),
        ("(?=a)", 0, "invalid perl operator"),
        ("a", 1, "there is no group 1"),
        ("a*", 0, "matches where nothing is"),
        (r"\Qa.b\E", 0, "escape each character"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, group: int, problem: str) -> None:
    """With a sentence, before anything is read."""
    with pytest.raises(ValueError, match=problem.replace("\\", r"\\")):
        Redaction([], [OwnPattern("own", pattern, group)])


@pytest.mark.parametrize(
    ("pattern", "bare"),
    [
        (r"^\bid-\d+\b$", r"(?:)(?:)id-\d+(?:)(?:)"),
        (r"[$^]\$\^", r"[$^]\$\^"),
        (r"[^]$]\A[]^]\z", r"[^]$](?:)[]^](?:)"),
        (r"\\b[\b]", r"\\b[\b]"),
    ],
)
def test_a_pattern_without_assertions_keeps_everything_else(pattern: str, bare: str) -> None:
    """Borders and ends go; the same characters escaped, or in a class, stay."""
    assert without_assertions(pattern) == bare


def test_every_pattern_needs_one_of_its_words() -> None:
    """What a text is searched for before a pattern is tried is in each text that the pattern masks something of."""
    for text, secret in SECRETS.items():
        names = set(EVERY.text(text.encode()).counts)
        for one in KNOWN:
            if one.name in names and secret:
                words = any(word in text.encode() for word in one.exact) or any(
                    word in text.encode().lower() for word in one.folded
                )
                assert words or one.around


def test_every_name_of_a_secret_begins_with_a_stem() -> None:
    """Only there is a text looked at."""
    names = {word for one in KNOWN if one.way is Way.WORD for word in one.folded}
    assert all(compiled(SECRET_NAMES + rb"\z").search(name) for name in names)
    assert all(any(name.startswith(stem) for stem in STEMS) for name in names)


def test_no_pattern_can_be_made_to_try_again_and_again() -> None:
    """All are RE2's, which never goes back in a text; what `re` matches from a word on has no repeat that gives back."""
    for one in KNOWN:
        if one.way is Way.RE2:
            assert type(compiled(one.pattern)).__module__ == "re2"
        else:
            repeats = list(_repeats(_parser.parse(one.pattern)))
            backing = [most for most, possessive in repeats if most > 1 and not possessive]
            # of an address only the labels give back, one by one, and they lie between two at signs
            assert len(backing) == (one.way is Way.ADDRESS)


HOSTILE = (
    *("1234 ", "4111-", "1", "1234567890123 ", "4111 1111 1111 1112 ", "000-45-6789 "),
    *("AB12 CDEF ", "DE89 3704 0044 0532 0130 01 ", "Bearer ", "bearer aaaaaaaa ", "basic aaaa "),
    *("eyJ", "AKIA", "-----BEGIN PRIVATE KEY-----", "--token "),
)


class Counting:
    """A pattern of RE2 that counts how often it was asked."""

    def __init__(self, pattern: Any) -> None:
        self.groups = pattern.groups
        self.asked = 0
        self._pattern = pattern

    def search(self, text: bytes, at: int) -> Any:
        self.asked += 1
        return self._pattern.search(text, at)


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_text_made_to_fail_every_check_is_passed_over_word_by_word(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pattern is asked more often than the text has words, and in twice the text not more than twice as often."""
    made: list[Counting] = []

    def counting(pattern: bytes | str) -> Counting:
        made.append(Counting(compiled(pattern)))
        return made[-1]

    monkeypatch.setattr("shipper.shape.redact_match.compiled", counting)
    redaction = Redaction(KINDS)

    def asked(times: int) -> list[int]:
        for one in made:
            one.asked = 0
        redaction.text(unit.encode() * times)
        return [one.asked for one in made]

    once, twice = asked(300), asked(600)
    words = max(1, len(unit.replace("-", " ").split()))
    assert all(number <= 300 * words + 2 for number in once)
    assert all(more <= 2 * number + 2 for number, more in zip(once, twice, strict=True))


def _repeats(tree: Any) -> Iterator[tuple[int, bool]]:
    """Of a parsed expression: how often each repeat may go on, and whether it keeps what it has."""
    for operation, argument in tree:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            yield int(argument[1]), name == "POSSESSIVE_REPEAT"
            yield from _repeats(argument[2])
        elif name == "SUBPATTERN":
            yield from _repeats(argument[3])
        elif name == "ATOMIC_GROUP":
            yield from _repeats(argument)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from _repeats(branch)
        else:
            assert name in ("LITERAL", "NOT_LITERAL", "IN", "ANY", "AT"), name
