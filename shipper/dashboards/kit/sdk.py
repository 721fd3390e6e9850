"""The one door to grafana-foundation-sdk: present in the pinned build, or one clear sentence.

The SDK is needed only to build the boards anew; who installs the shipped JSON never has it. Its releases are numbered so that
an unpinned install gets the builders of Grafana 10.1, which cannot write our deploy markers: that mistake is told apart here.
"""

import warnings

from shipper.errors import MissingExtra

WHAT = "building dashboards from a configuration of your own"

try:
    with warnings.catch_warnings():
        # It recommends schema v2 on import; classic is what every Grafana from 10 on takes.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.builders import (
            bargauge,
            common,
            dashboard,
            elasticsearch,
            heatmap,
            loki,
            prometheus,
            stat,
            statetimeline,
            table,
            tempo,
            timeseries,
        )
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.variants import Dataquery
        from grafana_foundation_sdk.models import common as shared
        from grafana_foundation_sdk.models import dashboard as model
        from grafana_foundation_sdk.models import elasticsearch as elasticsearch_model
        from grafana_foundation_sdk.models import prometheus as prometheus_model
        from grafana_foundation_sdk.models import tempo as tempo_model
except ImportError as error:
    raise MissingExtra(WHAT, "dashboards") from error

if not hasattr(dashboard.AnnotationQuery, "use_value_for_time"):
    raise MissingExtra(f"{WHAT} (another build of grafana-foundation-sdk than 0.0.21 is installed, it)", "dashboards")

__all__ = [
    "Dataquery",
    "JSONEncoder",
    "bargauge",
    "common",
    "dashboard",
    "elasticsearch",
    "elasticsearch_model",
    "heatmap",
    "loki",
    "model",
    "prometheus",
    "prometheus_model",
    "shared",
    "stat",
    "statetimeline",
    "table",
    "tempo",
    "tempo_model",
    "timeseries",
]
