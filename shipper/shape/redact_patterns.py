"""The secrets that are known: how each is written, and what a search for it begins at.

``exact`` and ``folded`` are words without which a pattern cannot match (``folded``: in capitals or not), ``around`` an
expression for what has no such word. All of them are looked for at once in whole requests, so they must not look at what
stands before or behind; the pattern itself is then tried on the text that holds the word.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from shipper.shape.redact_numbers import iban_length, is_card, is_ssn

TOKENS, KEYS, PASSWORDS, CARDS, EMAIL, IBAN, SSN = "tokens", "keys", "passwords", "cards", "email", "iban", "ssn"
_PROSE = 20  # a word so long behind "bearer" is none of a sentence


def _all(text: bytes) -> int:
    return len(text)


def _if(holds: Callable[[bytes], bool]) -> Callable[[bytes], int]:
    return lambda text: len(text) if holds(text) else 0


def _is_token(text: bytes) -> bool:
    """Not the next word of a sentence about bearer tokens."""
    return len(text) >= _PROSE or any(0x30 <= byte <= 0x39 for byte in text)


def _is_basic(text: bytes) -> bool:
    """What stands behind "Basic" in a header is ``user:password`` in base64 (RFC 7617)."""
    padded = text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)
    try:
        return b":" in b64decode(padded, validate=True)
    except binascii.Error:
        return False


class Way(Enum):
    """How a pattern is tried on a text (`shipper.shape.redact_match`)."""

    RE2 = 1  # searched for
    WORD = 2  # matched from each word on
    ADDRESS = 3  # matched from each at sign on


@dataclass(frozen=True, slots=True)
class Known:
    """A kind of secret. What its groups match is masked, or all of the match where it has none.

    ``check``: how many bytes of a group are the secret, 0: it is none. ``apart``: letters or digits beside it make it a
    part of something else. ``needs``: without these bytes it is not tried.
    """

    name: str
    kind: str
    pattern: bytes
    exact: tuple[bytes, ...] = ()
    folded: tuple[bytes, ...] = ()
    around: bytes = b""
    check: Callable[[bytes], int] = _all
    apart: bool = False
    needs: bytes = b""
    way: Way = Way.RE2


SECRET_NAMES = (
    rb"(?i:pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?|authorization|cookie|session[_-]?id"
    rb"|(?:api|access|private|encryption|signing)[_-]?key)"
)
"""How fields, headers and attributes end that hold a secret."""
STEMS = (
    *(b"pass", b"pwd", b"secret", b"token", b"credential", b"authorization", b"cookie", b"session"),
    *(b"api", b"access", b"private", b"encryption", b"signing"),
)
"""How all of `SECRET_NAMES` begin."""
_NAME_WORDS = (
    *(b"password", b"passwd", b"passphrase", b"passcode", b"pwd", b"secret", b"token", b"credential"),
    *(b"authorization", b"cookie", b"sessionid", b"session_id", b"session-id"),
    *(
        of + between + b"key"
        for of in (b"api", b"access", b"private", b"encryption", b"signing")
        for between in (b"", b"_", b"-")
    ),
)
_SCHEME = rb"(?:(?i:bearer|basic|digest|token|apikey|negotiate|aws4-hmac-sha256)[ \t]++)?+"
_VALUE = (
    rb"(?:\\\"((?:[^\"\\]|\\\\(?:\\[\"\\]|[^\"\\]))++)"  # JSON in a string of JSON
    rb"|\\\\++\"([^\"\\]++)"  # and in a string of that
    rb"|\"((?:[^\"\\]|\\(?s:.))++)"
    rb"|'([^']++)"
    rb"|([^\s\"'\\&;,]++))"
)


KNOWN = (
    Known(
        "private-key",
        KEYS,
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:(.*?))(?:-----END [A-Z0-9 ]*PRIVATE KEY|\z)",
        exact=(b"-----BEGIN",),
    ),
    Known(
        "url-password",
        PASSWORDS,
        rb"://[^\s/?#@:\"'<>]*:([^\s/?#\"'<>]+)@",
        around=rb"://[^\s/?#@:\"'<>]*:[^\s/?#\"'<>]+@",
    ),
    Known("bearer", TOKENS, rb"(?i:bearer)[ \t]+([A-Za-z0-9._~+/=-]{8,})", folded=(b"bearer",), check=_if(_is_token)),
    Known("basic", TOKENS, rb"(?i:basic)[ \t]+([A-Za-z0-9+/]{4,}={0,2})", folded=(b"basic",), check=_if(_is_basic)),
    Known("jwt", TOKENS, rb"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}", exact=(b"eyJ",)),
    Known(
        "github",
        TOKENS,
        rb"gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}",
        exact=(b"gho_", b"ghp_", b"ghr_", b"ghs_", b"ghu_", b"github_pat_"),
    ),
    Known(
        "gitlab",
        TOKENS,
        rb"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[A-Za-z0-9_.-]{16,}",
        exact=tuple(b"gl%s-" % kind for kind in b"pat dt rt cbt ptt ft soat imt agent oas ffct".split()),
    ),
    Known(
        "slack",
        TOKENS,
        rb"((?:xox[abcdeoprs][.-]|xapp-)[A-Za-z0-9.-]{10,})|hooks\.slack\.com/[a-z]+/([A-Za-z0-9/]{20,})",
        exact=(b"xox", b"xapp-", b"hooks.slack.com/"),
    ),
    Known("npm", TOKENS, rb"npm_[A-Za-z0-9]{36,}", exact=(b"npm_",)),
    Known("pypi", TOKENS, rb"pypi-[A-Za-z0-9_-]{50,}", exact=(b"pypi-",)),
    Known(
        "aws",
        KEYS,
        rb"((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})"
        rb"(?s:(?:[^A-Za-z0-9/+]|[^A-Za-z0-9/+].{0,80}?[^A-Za-z0-9/+])([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z))?",
        exact=(b"AKIA", b"ASIA", b"ABIA", b"ACCA"),
    ),
    Known(
        "google",
        KEYS,
        rb"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",
        exact=(b"AIza", b"ya29.", b"GOCSPX-"),
    ),
    Known(
        "stripe",
        KEYS,
        rb"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}",
        exact=(b"k_live_", b"k_test_", b"whsec_"),
    ),
    Known(
        "model-api",
        KEYS,
        rb"sk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{20,}",
        exact=(b"sk-ant-", b"sk-proj-", b"sk-svcacct-"),
    ),
    Known("sendgrid", KEYS, rb"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", exact=(b"SG.",)),
    Known(
        "field",
        PASSWORDS,
        SECRET_NAMES + rb"(?:\\*+[\"'])?+\]?+[ \t]*+(?:=>|[=:])[ \t]*+" + _SCHEME + _VALUE,
        folded=_NAME_WORDS,
        way=Way.WORD,
    ),
    Known(
        "argument",
        PASSWORDS,
        rb"--[A-Za-z0-9-]*" + SECRET_NAMES + rb"[ \t]+(?:\"([^\"]+)|'([^']+)|([^\s\"'\\-][^\s\"'\\]*))",
        folded=_NAME_WORDS,
        needs=b"--",
    ),
    Known("email", EMAIL, rb"(?:@|%40)(?:[A-Za-z0-9-]++\.){1,32}[A-Za-z]{2,}+", exact=(b"@", b"%40"), way=Way.ADDRESS),
    Known(
        "card",
        CARDS,
        rb"[0-9]{13,}|[0-9]{4}(?: [0-9]{4}){3}(?: [0-9]{3})?|[0-9]{4}(?:-[0-9]{4}){3}(?:-[0-9]{3})?"
        rb"|[0-9]{4} [0-9]{6} [0-9]{5}|[0-9]{4}-[0-9]{6}-[0-9]{5}",
        around=rb"[0-9](?:[ -]?[0-9]){12,}",
        check=_if(is_card),
        apart=True,
    ),
    Known(
        "iban",
        IBAN,
        rb"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}",
        around=rb"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4}",
        check=iban_length,
        apart=True,
    ),
    Known(
        "ssn", SSN, rb"[0-9]{3}-[0-9]{2}-[0-9]{4}", around=rb"[0-9]{3}-[0-9]{2}-[0-9]{4}", check=_if(is_ssn), apart=True
    ),
)
"""In the order in which they are tried on a text; what one has masked the next finds masked."""

KINDS = tuple(dict.fromkeys(known.kind for known in KNOWN))
