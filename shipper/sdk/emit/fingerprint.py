"""A short name for "the same error again", the same on every host and in every release that did not change where it is raised.

**Version 1** (``v1-`` and 16 hex digits), from the text that `traceback` makes of an exception:

1. the qualified type of the exception, without ``__main__.``;
2. up to four frames as ``module:function``: the innermost ones of the service's own code, or, where there is none of it, the
   innermost ones of all. Own code is what lies neither in a ``site-packages`` or ``dist-packages`` directory nor in the
   standard library. Line numbers, source text, directories and addresses do not count. A frame that occurs again (recursion)
   counts once; list, dict and set comprehensions do not count, which are frames in some versions of Python only;
3. the types of its causes and contexts and, for an exception group, of its members: each once, in alphabetical order;
4. the message only if there is no frame at all, with quoted texts, UUIDs, hexadecimal and other numbers replaced.

The module of a file is the name it was imported as; else its path below a ``site-packages``, the standard library or the
longest matching entry of ``sys.path``; else its last two parts. So neither the virtual environment nor the release
directory matters. These are hashed with BLAKE2b. What a later version changes will begin with ``v2-``.
"""

from __future__ import annotations

import os
import re
import sys
from hashlib import blake2b

FINGERPRINT = "shipper.exception.fingerprint"
MAX_FRAMES = 4
_MAX_TYPES = 16
_MAX_TEXT = 1 << 18
_CACHED = 64
_CACHED_TEXT = 16_000
_FRAME = re.compile(r'\s*File "(.+)", line \d+, in (.+)')
_MARGIN = re.compile(r"( *)[|+] ?(?=\S| |$)")
_MEMBER = re.compile(r" *\+[-+]+ (\d+|\.\.\.) -+$| *\+-+$")
_TYPE = re.compile(r"[^\W\d][\w.<>]*(?=:|$)")
_LINKS = ("The above exception was the direct cause of", "During handling of the above exception")
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
_INSTALLED = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")
_STANDARD = re.compile(r".*[/\\]lib(?:64)?[/\\]python3(?:\.\d+)?[/\\]|.*[/\\]lib[/\\]python3\.\d+\.zip[/\\]")
_OS_DIRECTORY = os.path.dirname(os.__file__) + os.sep
_VARIABLE = (
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"), "S"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "U"),
    (re.compile(r"\b0[xX][0-9a-fA-F]+|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "X"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "N"),
    (re.compile(r"\s+"), " "),
)
_seen: dict[tuple[str, str, str], str] = {}
_modules: dict[str, tuple[str, bool]] = {}


def fingerprint(kind: str, stack: str, message: str = "") -> str:
    """The fingerprint of an exception of type ``kind`` (empty: the text tells it) with this traceback text."""
    key = (kind, stack, message)
    found = _seen.get(key)
    if found is None:
        found = "v1-" + blake2b(_essence(kind, stack, message).encode("utf-8", "replace"), digest_size=8).hexdigest()
        if len(stack) < _CACHED_TEXT:
            if len(_seen) >= _CACHED:
                _seen.clear()
            _seen[key] = found
    return found


def _essence(kind: str, stack: str, message: str) -> str:
    name, main, others = _read(stack[-_MAX_TEXT:])
    own = (kind or name).removeprefix("__main__.")
    frames = [(*module_of(path), name) for path, name in main if name not in _COMPREHENSIONS]
    own_code = [frame for frame in frames if frame[1]] or frames
    named = list(dict.fromkeys(f"{module}:{name}" for module, _, name in reversed(own_code)))[:MAX_FRAMES]
    types = sorted({name.removeprefix("__main__.") for name in others})[:_MAX_TYPES]
    parts = [own, *named, "<-", *types]
    if not named:
        parts.append(_general(message))
    return "\n".join(parts)


def _general(message: str) -> str:
    text = message[:1000]
    for pattern, instead in _VARIABLE:
        text = pattern.sub(instead, text)
    return text.strip()[:200]


def _read(stack: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    """The type of the exception itself, its frames as (path, function), and the types of the others in the text.

    The text is a row of blocks: frames, then a line with the type. The exception itself is the last block that is no
    member of a group, which is seen from how far it is indented.
    """
    blocks: list[tuple[bool, str, list[tuple[str, str]]]] = []
    frames: list[tuple[str, str]] = []
    reading = True  # until the line with the type; what follows it is message
    for raw in stack.splitlines():
        if _MEMBER.match(raw):
            frames, reading = [], True
            continue
        margin = _MARGIN.match(raw)
        line = raw[margin.end() :] if margin else raw
        if line.startswith(("Traceback (most recent call last):", "Exception Group Traceback", *_LINKS)):
            frames, reading = [], True
        elif not reading or not line.strip():
            continue
        elif frame := _FRAME.match(line):
            frames.append((frame[1], frame[2]))
        elif not line.startswith(" ") and (name := _TYPE.match(line)):
            member = margin is not None and len(margin[1]) > 2
            blocks.append((member, name[0], frames))
            frames, reading = [], False
    own = next((index for index in range(len(blocks) - 1, -1, -1) if not blocks[index][0]), -1)
    if own < 0:
        return "", frames, []
    return blocks[own][1], blocks[own][2], [name for index, (_, name, _) in enumerate(blocks) if index != own]


def module_of(path: str) -> tuple[str, bool]:
    """The name of the module a file is, and whether it is the service's own code."""
    found = _modules.get(path)
    if found is None:
        if len(_modules) >= 4096:
            _modules.clear()
        found = _modules[path] = _module_of(path)
    return found


def _module_of(path: str) -> tuple[str, bool]:
    if path.startswith("<"):
        return path.removeprefix("<frozen ").strip("<>") if path.startswith("<frozen ") else re.sub(
            r"\d+", "N", path
        ), False
    for pattern in (_INSTALLED, _STANDARD):
        if library := pattern.match(path):
            return _dotted(path[library.end() :]), False
    if path.startswith(_OS_DIRECTORY):
        return _dotted(path[len(_OS_DIRECTORY) :]), False
    if imported := _imported(path):
        return imported, True
    for entry in sorted(map(str, sys.path), key=len, reverse=True):
        directory = os.path.abspath(entry).rstrip("/") + "/"
        if path.startswith(directory) and directory != "/":
            return _dotted(path[len(directory) :]), True
    return _dotted("/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])), True


def _imported(path: str) -> str:
    """The name under which a module of this file was imported; empty where there is none."""
    main = ""
    for name, module in list(sys.modules.items()):
        try:
            members = object.__getattribute__(module, "__dict__")  # getattr would load modules that are loaded lazily
        except (AttributeError, TypeError):
            continue
        if members.get("__file__") != path:
            continue
        if name not in ("__main__", "__mp_main__"):
            return name
        main = getattr(members.get("__spec__"), "name", "") or _dotted(os.path.basename(path))
    return main


def _dotted(path: str) -> str:
    parts = path.replace("\\", "/").strip("/").split("/")
    parts[-1] = parts[-1].removesuffix(".py").removesuffix(".pyc")
    if len(parts) > 1 and parts[-1] in ("__init__", "__main__"):
        parts.pop()
    return ".".join(parts)
