"""What the demo's images carry: the releases of its story, in the order of their deploys."""

from __future__ import annotations

from dataclasses import replace

from shipper.demo.host import Build

GENERATIONS = (
    Build(release="A", image="demo-image:a1f3", generation="1-A", error_ratio=0.01),
    Build(release="B", image="demo-image:b27c", generation="2-B", error_ratio=0.12),
    Build(release="A", image="demo-image:a1f3", generation="3-A", error_ratio=0.01),
)
REBUILT = replace(GENERATIONS[2], image="demo-image:a1f4")
"""The release of the rollback from an image that somebody built anew."""
CANARY = Build(release="C", image="demo-image:c90e", generation="canary-C", error_ratio=0.03)
