"""The story as one self-contained page: what replaced what, how it went, and whether all of it is here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from shipper import __version__
from shipper.drawing.chart import Frame, Line, Marker, lines
from shipper.drawing.lanes import Bar, Lane, lanes
from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.page import BAD, GOOD, PALETTE, QUIET, WARNING, legend, page, table
from shipper.drawing.scale import duration, moment, percent
from shipper.fleet.deploys.model import Deploy
from shipper.fleet.page.story import SECOND, Generation, Life, Story
from shipper.fleet.page.table import NO_AUDIT
from shipper.fleet.table import remarks, verdict

MOST_LIVES = (
    400  # drawn, those first that did not end as they should; the others are in the table's figures and the JSON
)
MOST_REMARKS = 200
FEW = 4  # a piece of time with less than this part of the usual requests has no error ratio drawn
ENDS = {
    "alive": ("▸", "still alive when last heard of"),
    "drained": ("✓", "drained: said farewell, all sent"),
    "stopped": ("■", "stopped: the sidecar left, the life goes on"),
    "expired": ("✗", "expired: the time was up before all was sent"),
    "notice": ("!", "ended after a notice, without a farewell"),
    "silent": ("?", "fell silent: nothing is known of what came later"),
    "no account": ("·", "never said anything of itself"),
}


def render(story: Story) -> str:
    """The page."""
    frame = Frame(story.start_ns / SECOND, story.end_ns / SECOND, tuple(_markers(story.deploys)))
    return page(
        f"Fleet history: {story.report.archive}",
        *_head(story),
        element("h2", "Error ratio by generation"),
        _legend(story),
        _errors(story, frame),
        element("h2", "Requests a second by generation"),
        _requests(story, frame),
        element("h2", "Hosts by generation"),
        _hosts(story, frame),
        element("h2", "Generations"),
        _generations(story.generations),
        *_deploys(story.deploys),
        element("h2", "Lives of hosts"),
        *_lives(story, frame),
        *(_audit(story) if story.audited else ()),
    )


def colour(number: int) -> str:
    """That of a generation, by its place."""
    return PALETTE[number % len(PALETTE)] if number >= 0 else QUIET


def _head(story: Story) -> Iterator[Markup]:
    report = story.report
    hosts = {life.report.host or life.report.life for life in story.lives if life.report.role != "gateway"}
    yield element("h1", "Fleet history")
    yield element(
        "p",
        f"{report.archive}: {len(story.generations)} generations on {len(hosts)} hosts, {moment(story.start_ns / SECOND)} to "
        f"{moment(story.end_ns / SECOND)} (all times UTC). Read {moment(report.at_ns / SECOND)} by shipper {__version__}.",
        class_="dim",
    )
    if story.audited:
        yield element("p", verdict(report), class_="verdict", style=f"border-color:{GOOD if report.ok else BAD}")
    else:
        yield element("p", f"From what hosts pushed to a Prometheus; {NO_AUDIT}.", class_="dim")
    alive = sum(life.report.ended == "alive" for life in story.lives)
    if alive and story.audited:
        yield element(
            "p",
            f"{alive} lives are not over: this archive is still being written, and what comes later is not on this page.",
            class_="notice",
        )
    if story.unplaced:
        yield element(
            "p",
            f"{story.unplaced:,} requests were counted by hosts of no generation that is seen here; no figure has them.",
            class_="notice",
        )


def _markers(deploys: Iterable[Deploy]) -> Iterator[Marker]:
    for deploy in deploys:
        who = f"{deploy.service} {deploy.release or deploy.generation}"
        how = " (inferred from the hosts)" if deploy.inferred else f" by {deploy.actor}" if deploy.actor else ""
        if deploy.started_ns:
            what = "rollback" if deploy.rollback else "deploy"
            shown = f"{what} {deploy.release or deploy.generation}"
            tone = BAD if deploy.rollback else PALETTE[0]
            yield Marker(deploy.started_ns / SECOND, shown, tone, f"{what} of {who} started{how}")
        if deploy.status == "failed":
            yield Marker(deploy.finished_ns / SECOND, "failed", BAD, f"deploy of {who} failed{how}")
        if deploy.withdrawn_ns:
            yield Marker(deploy.withdrawn_ns / SECOND, "withdrawn", QUIET, f"{who} was withdrawn{how}")


def _legend(story: Story) -> Markup:
    names = [f"{one.name} {one.release}".strip() for one in story.generations]
    return legend(
        (f"{name} {one.image}" if names.count(name) > 1 else name, colour(number))
        for number, (name, one) in enumerate(zip(names, story.generations, strict=True))
    )


def _ratios(story: Story) -> list[Line]:
    """Where a piece of time has few requests compared with the others, as at the ends of a life, its ratio is mere chance."""
    found = []
    for number, tallies in sorted(story.tallies.items()):
        usual = _usual([tally.requests for tally in tallies])
        values = [tally.ratio if tally.requests * FEW >= usual else None for tally in tallies]
        found.append(_line(story, number, values))
    return found


def _usual(requests: Sequence[float]) -> float:
    """How many a piece of time has in which most requests are: a long thin tail, as of a disk that was found, counts little."""
    left = sum(requests) / 2
    for count in sorted(requests, reverse=True):
        left -= count
        if left <= 0:
            return count
    return 0.0


def _rates(story: Story) -> list[Line]:
    seconds = story.bins.step_ns / SECOND
    return [
        _line(story, number, [tally.requests / seconds or None for tally in tallies])
        for number, tallies in sorted(story.tallies.items())
    ]


def _line(story: Story, number: int, values: Sequence[float | None]) -> Line:
    bins = story.bins
    points = [
        ((bins.start_ns + (at + 0.5) * bins.step_ns) / SECOND, math.nan if value is None else value)
        for at, value in enumerate(values)
    ]
    return Line(story.generations[number].name, colour(number), points)


def _errors(story: Story, frame: Frame) -> Markup:
    if not story.tallies:
        return _nothing("No host counted requests: without samples of shipper.requests there is no error ratio.")
    return lines(frame, _ratios(story), write=percent, label="error ratio by generation")


def _requests(story: Story, frame: Frame) -> Markup:
    if not story.tallies:
        return _nothing("No host counted requests.")
    return lines(frame, _rates(story), height=140, label="requests a second by generation")


def _hosts(story: Story, frame: Frame) -> Markup:
    series = [
        Line(one.name, colour(number), [(at / SECOND, float(count)) for at, count in story.hosts_over(number)])
        for number, one in enumerate(story.generations)
    ]
    return lines(frame, series, stacked=True, whole=True, height=160, label="hosts by generation")


def _generations(generations: Sequence[Generation]) -> Markup:
    headings = (
        "",
        "service",
        "generation",
        "release",
        "image",
        "started",
        "hosts",
        "requests",
        "errors",
        "error ratio",
    )
    rows = [
        (
            element("span", "■", style=f"color:{colour(number)}"),
            " ".join(filter(None, (one.service, one.environment))),
            one.name + (" rollback" if one.rollback else ""),
            one.release,
            one.image,
            moment(one.started_ns / SECOND),
            f"{one.hosts:,}",
            "unknown" if one.requests is None else f"{one.requests:,}",
            "unknown" if one.errors is None else f"{one.errors:,}",
            "" if one.ratio is None else percent(one.ratio),
            one.outcome,
            ", ".join(f"{count} {ended}" for ended, count in one.ends.items()),
        )
        for number, one in enumerate(generations)
    ]
    return table((*headings, "how it ended", "its hosts"), rows, numbers=range(6, 10))


def _deploys(deploys: Sequence[Deploy]) -> Iterator[Markup]:
    if not deploys:
        return
    yield element("h2", "Deploys and rollbacks")
    rows = [
        (
            moment(deploy.started_ns / SECOND) or "unknown",
            "rollback" if deploy.rollback else "deploy",
            deploy.service,
            deploy.from_release,
            deploy.release,
            deploy.generation,
            f"withdrawn {moment(deploy.withdrawn_ns / SECOND)}"
            if deploy.withdrawn_ns
            else deploy.status or "no end told",
            duration((deploy.finished_ns - deploy.started_ns) / SECOND)
            if deploy.finished_ns and deploy.started_ns
            else "",
            "inferred from the hosts" if deploy.inferred else deploy.actor or "told",
        )
        for deploy in deploys
    ]
    yield table(("started", "what", "service", "from", "to", "generation", "end", "took", "by"), rows)


def _lives(story: Story, frame: Frame) -> Iterator[Markup]:
    hosts = [life for life in story.lives if life.report.role != "gateway"]
    well = ("drained", "alive")
    first = sorted(hosts, key=lambda life: (life.report.ended in well and life.report.ok, -life.born_ns))[:MOST_LIVES]
    shown = sorted(first, key=lambda life: (life.born_ns, life.report.host))
    marks = [
        f"{mark} {told}" for ended, (mark, told) in ENDS.items() if any(life.report.ended == ended for life in hosts)
    ]
    yield element("p", " · ".join(marks), class_="dim")
    if len(shown) < len(hosts):
        yield element(
            "p",
            f"{len(shown)} of {len(hosts):,} lives are drawn: those that did not end as they should, then the newest.",
            class_="notice",
        )
    rows = [Lane(life.report.host or life.report.life, [_bar(story, life)]) for life in shown]
    yield lanes(frame, rows, label="lives of hosts") if rows else _nothing("No host was heard of.")


def _bar(story: Story, life: Life) -> Bar:
    report = life.report
    mark, told = ENDS[report.ended]
    generation = story.generations[life.generation].name if life.generation >= 0 else "no generation"
    missing = "" if report.ok else f", MISSING {report.counts.missing:,} records"
    words = (
        f"{report.host} ({report.life}) of {generation}: {told}{', ' + report.reason if report.reason else ''}{missing}"
    )
    return Bar(
        life.born_ns / SECOND, life.end_ns / SECOND, colour(life.generation), words, mark if report.ok else f"{mark} ✗"
    )


def _audit(story: Story) -> Iterator[Markup]:
    report = story.report
    yield element("h2", "Audit")
    yield element(
        "p",
        f"Objects {report.objects:,}. The bytes of every batch were compared with their checksum, and the records of a batch "
        "are as many as its range list says; shipper audit counts each of them.",
        class_="dim",
    )
    names = ("read", "archived", "pending", "filtered", "sampled", "dropped", "quarantined", "rejected", "unproved")
    total = report.totals
    figures = [(name, f"{getattr(total, name):,}") for name in (*names, "missing", "duplicates") if _worth(name, total)]
    yield table(("records", "all hosts"), figures, numbers=(1,))
    said = list(remarks(report))
    if said:
        shown = said[:MOST_REMARKS]
        more = [f"and {len(said) - len(shown):,} more, which shipper audit prints"] if len(said) > len(shown) else []
        yield element("ul", joined(element("li", line) for line in (*shown, *more)))


def _worth(name: str, total: object) -> bool:
    return name in ("read", "archived", "missing", "duplicates") or bool(getattr(total, name))


def _nothing(words: str) -> Markup:
    return element("p", words, class_="notice", style=f"border-color:{WARNING}")
