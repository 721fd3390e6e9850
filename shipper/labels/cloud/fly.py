"""Fly.io: all that is known is in the machine's environment (Fly.io, "The Machine Runtime Environment").

``FLY_MACHINE_VERSION`` is new for every machine that a deploy touches, so that hosts of one deploy would not share it. What
they share is the image, which ``fly deploy`` tags with an id of that deploy: ``registry.fly.io/APP:deployment-01H9RK...``.
"""

from __future__ import annotations

from shipper.labels.finding import AttributeValue, Candidate, Finding, Surroundings

_DEPLOYMENT = "deployment-"


def detect(around: Surroundings) -> Finding:
    """Machine, image, region, and the deploy."""
    machine, image = around.variable("FLY_MACHINE_ID", "FLY_ALLOC_ID"), around.variable("FLY_IMAGE_REF")
    attributes: dict[str, AttributeValue] = {"cloud.provider": "fly", "host.id": machine}
    if region := around.variable("FLY_REGION"):
        attributes["cloud.region"] = region
    tag = image.partition("@")[0].rpartition(":")[2]
    deploy = tag if tag.startswith(_DEPLOYMENT) else ""
    candidates = (
        Candidate("image", image, "FLY_IMAGE_REF"),
        Candidate("generation", deploy, "deployment in FLY_IMAGE_REF"),
        Candidate("generation", around.variable("FLY_MACHINE_VERSION"), "FLY_MACHINE_VERSION"),
        Candidate("host", machine, "FLY_MACHINE_ID"),
    )
    return Finding(
        candidates, attributes, fallbacks=(Candidate("service", around.variable("FLY_APP_NAME"), "FLY_APP_NAME"),)
    )
