"""Units, colours by role and thresholds: one meaning, one look, on every board."""

from collections.abc import Mapping

from shipper.dashboards.kit.sdk import dashboard, model

PERCENT = "percentunit"
PER_SECOND = "reqps"
SECONDS = "s"
BYTES = "bytes"
COUNT = "short"
HOSTS = "short"
WHEN = "dateTimeAsIso"
SINCE = "dateTimeFromNow"
FACTOR = "suffix:×"
PLAIN = "none"
# With any other unit Grafana reads a release named 1e5 as a number and shows 100000.
TEXT = "string"

NEW = "#5794F2"
OLD = "#8E8E8E"
BAD = "#E02F44"
GOOD = "#73BF69"
WARNING = "#FF9830"


def thresholds(base: str, *steps: tuple[float, str]) -> model.ThresholdsConfig:
    """The colour from minus infinity on, then ``(value, colour)`` steps upwards."""
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps(
            [model.Threshold(value=None, color=base), *(model.Threshold(value=at, color=color) for at, color in steps)]
        )
        .build()
    )


def words(texts: Mapping[str, tuple[str, str]], *, absent: tuple[str, str] | None = None) -> list[model.ValueMapping]:
    """Value mappings ``{"2": ("noticed", colour)}``; ``absent`` is shown where there is no value at all."""
    mapped: list[model.ValueMapping] = [
        model.ValueMap(
            options={
                value: model.ValueMappingResult(text=text, color=color, index=index)
                for index, (value, (text, color)) in enumerate(texts.items())
            }
        )
    ]
    if absent is not None:
        mapped.append(
            model.SpecialValueMap(
                options=model.DashboardSpecialValueMapOptions(
                    match=model.SpecialValueMatch.NULL_AND_NAN,
                    result=model.ValueMappingResult(text=absent[0], color=absent[1], index=len(texts)),
                )
            )
        )
    return mapped


def fixed(color: str) -> model.FieldColor:
    """One colour for every series it is applied to."""
    return model.FieldColor(mode=model.FieldColorModeId.FIXED, fixed_color=color)


def shades(color: str) -> model.FieldColor:
    """Shades of one colour, so that many old generations read as one role and stay apart."""
    return model.FieldColor(mode=model.FieldColorModeId.SHADES, fixed_color=color)
