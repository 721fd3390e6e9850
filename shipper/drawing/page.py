"""A page that is one file: its style inside, light and dark as the reader's system is, nothing to load and no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.drawing.markup import Markup, element, joined, text

# Distinct on white and on near-black, and told apart by the colour-blind (Okabe and Ito, darkened where white needs it).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8c564b", "#7f7f7f")
GOOD, BAD, WARNING, QUIET = "#2e8b57", "#d62728", "#d98200", "#8a8f98"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--dim:#5f6872;--paper:#fff;--card:#f6f7f9;--rule:#d9dde2}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--dim:#9aa3ad;--paper:#14171a;--card:#1d2125;--rule:#363c43}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:20px;font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:26px 0 8px}p{margin:4px 0}.dim,figcaption{color:var(--dim)}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:3px 12px 3px 0;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--dim);font-weight:600}.n{text-align:right}.scroll{overflow-x:auto;max-height:520px;overflow-y:auto}
.lines{font-size:12px;max-height:230px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
svg .grid{stroke:var(--rule);stroke-width:1}svg .name{fill:var(--ink)}
.legend span{display:inline-block;margin-right:14px}.legend i{display:inline-block;width:10px;height:10px;margin-right:5px}
.verdict{font-weight:600;padding:8px 12px;border-left:4px solid;background:var(--card)}
.notice{padding:8px 12px;border-left:4px solid #d98200;background:var(--card);margin:10px 0}
.card{background:var(--card);padding:10px 12px;min-width:0;overflow:hidden}.card h3{font-size:13px;margin:0 0 6px}
.board{display:grid;grid-template-columns:repeat(24,1fr);gap:8px}
.stats{display:flex;flex-wrap:wrap;gap:4px 24px}
.stat{font-size:22px;font-weight:600}.stat small{display:block;font-size:12px;font-weight:400;color:var(--dim)}
@media(max-width:800px){.board{display:block}.card{margin-bottom:8px}}
"""


def page(title: str, *content: object) -> str:
    """The whole document. Its policy forbids the browser to load or run anything, whatever the content says."""
    head = joined(
        (
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width,initial-scale=1">'),
            element("title", title),
            Markup(f"<style>{_STYLE}</style>"),
        )
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{joined(content, chr(10))}</body></html>\n'


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()) -> Markup:
    """A table that scrolls by itself; ``numbers``: the columns that are set to the right."""
    right = set(numbers)

    def cells(kind: str, row: Sequence[object]) -> Markup:
        return element(
            "tr", joined(element(kind, cell, class_="n" if at in right else None) for at, cell in enumerate(row))
        )

    body = joined(cells("td", row) for row in rows)
    head = element("thead", cells("th", headings))
    return element("div", element("table", head, element("tbody", body)), class_="scroll")


def legend(names: Iterable[tuple[str, str]]) -> Markup:
    """Names with their colours."""
    shown = (element("span", element("i", style=f"background:{colour}"), text(name)) for name, colour in names)
    return element("p", joined(shown), class_="legend")
