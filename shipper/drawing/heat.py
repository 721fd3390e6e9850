"""A heatmap: how much was in which class when, darker for more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shipper.drawing.chart import BOTTOM, TOP, Frame, time_axis
from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.scale import moment, number


def heatmap(
    frame: Frame, classes: Sequence[str], cells: Mapping[tuple[int, float], float], step: float, *, height: int = 200
) -> Markup:
    """``classes``: names of the rows, the lowest first. ``cells``: by row and the time its step ends, how much there was."""
    span = frame.span()
    most = max((value for value in cells.values() if math.isfinite(value)), default=0.0)
    tall = (height - TOP - BOTTOM) / max(1, len(classes))
    parts = [*time_axis(span, height)]
    for place, name in enumerate(classes):
        y = height - BOTTOM - tall * (place + 0.5) + 4
        parts.append(element("text", name, x=span.left - 6, y=y, text_anchor="end"))
    for (place, at), value in cells.items():
        if not (math.isfinite(value) and value > 0):
            continue
        left, right = span.x(at - step), span.x(at)
        told = element("title", f"{moment(at)} up to {classes[place]}: {number(value)}")
        parts.append(
            element(
                "rect",
                told,
                x=left,
                y=height - BOTTOM - tall * (place + 1) + 0.5,
                width=max(1.0, right - left - 0.5),
                height=max(1.0, tall - 1),
                fill="#d9641a",
                fill_opacity=f"{0.12 + 0.88 * math.sqrt(value / most):.2f}",
            )
        )
    return element("svg", joined(parts), view_box=f"0 0 {frame.width} {height}", role="img")
