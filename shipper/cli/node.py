"""``shipper node``: one sidecar for all pods of a Kubernetes node."""

from __future__ import annotations

from typing import Any

import click

from shipper.cli.options import config_option, state_dir_option
from shipper.cli.start import start


@click.command()
@click.option("--pods-dir", metavar="DIR", default="", help="Where the kubelet keeps logs; default: /var/log/pods.")
@click.option("--node-name", metavar="NAME", default="", help="The node's name; default: NODE_NAME.")
@click.option("--api", metavar="URL", default="", help="The API server; off asks none; default: this cluster's.")
@click.option(
    "--endpoint",
    metavar="URL",
    default="",
    help="OTLP/HTTP endpoint; default: SHIPPER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--drain-deadline", metavar="TIME", default="", help="Time a drain may take, for example 20s.")
@config_option
@state_dir_option
def command(
    pods_dir: str,
    node_name: str,
    api: str,
    endpoint: str,
    drain_deadline: str,
    config_file: str | None,
    state_dir: str,
) -> None:
    """Ship the logs of every pod of a Kubernetes node, each under its own identity, life and account.

    Runs as a DaemonSet (packaging/kubernetes, docs/kubernetes.md). Everything that `shipper run` does is done beside it for
    the agent itself.

    Exit status: 0 drained, 3 the deadline came before everything was sent (the farewells name what is left), 1 cannot start.
    """
    wanted: dict[str, Any] = {
        "node.pods_dir": pods_dir,
        "node.name": node_name,
        "node.api": api,
        "endpoint": endpoint,
        "drain.deadline": drain_deadline,
        "state_dir": state_dir,
    }
    start("sidecar", config_file, {key: value for key, value in wanted.items() if value}, of_node=True)
