"""Grafana's own provisioning files: data sources that lead from one signal to the next, and the folder of boards.

Keys and traps are Grafana's: ``$$`` stands for ``$`` in these files (a single one is an environment variable), a derived
field's pattern is ``matcherRegex`` (``regex`` is ignored), trace-to-logs shows no link at all unless a mapped tag exists
on the span, and only built-in tags have their dots mapped, so every tag says its label. Sources: grafana.com/docs/grafana
administration/provisioning, datasources/{prometheus,loki,tempo}/configure, administration/correlations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.dashboards import names
from shipper.dashboards.duration import duration

if TYPE_CHECKING:
    from shipper.dashboards.config import BoardConfig

DATASOURCES = "provisioning/datasources/shipper.yaml"
ELASTICSEARCH = "provisioning/datasources/elasticsearch.yaml.sample"
PROVIDER = "provisioning/dashboards/shipper.yaml"
PROMETHEUS_UID, LOKI_UID, TEMPO_UID, ELASTICSEARCH_UID = "prometheus", "loki", "tempo", "elasticsearch"
FOLDER, FOLDER_UID = "Shipper", "shipper"
BOARDS_PATH = "/var/lib/grafana/dashboards/shipper"
DEPLOY_LINE = r"/^(?:deploy of |rollback to )?(?<service>\S+) .*?, generation (?<generation>[^,]+)/"
"""Finds service and generation in what a deploy event says to people (a JavaScript pattern, as correlations take it)."""
_MADE = "# Made by `python -m shipper.dashboards.generate`; change shipper/dashboards/provisioning.py instead.\n"


def provisioning(config: BoardConfig) -> dict[str, str]:
    """Path below the dashboards folder -> text, for these settings."""
    return {DATASOURCES: _datasources(config), ELASTICSEARCH: _elasticsearch(), PROVIDER: _provider()}


def _datasources(config: BoardConfig) -> str:
    labels = config.labels
    of_generation = f'{{{labels.service}="$${{service}}",{labels.generation}="$${{generation}}"}}'
    return f"""{_MADE}\
# Three data sources, each leading to the next: a metric's exemplar to its trace, a trace to its log lines and to the error
# ratio of its generation, a log line to its trace and to the board of its generation. Set the URLs to yours.
apiVersion: 1
prune: true

datasources:
  - name: Prometheus
    type: prometheus
    uid: {PROMETHEUS_UID}
    access: proxy
    url: http://prometheus:9090
    isDefault: true
    jsonData:
      httpMethod: POST
      prometheusType: Prometheus
      # The interval at which hosts push; Grafana's rate interval is four of it, and gaps appear where it is too short.
      timeInterval: {duration(config.intervals.push)}
      exemplarTraceIdDestinations:
        - name: trace_id
          datasourceUid: {TEMPO_UID}
          urlDisplayLabel: Show the trace

  - name: Loki
    type: loki
    uid: {LOKI_UID}
    access: proxy
    url: http://loki:3100
    jsonData:
      derivedFields:
        - name: Trace
          matcherType: label
          matcherRegex: trace_id
          datasourceUid: {TEMPO_UID}
          url: $${{__value.raw}}
          urlDisplayLabel: Show the trace
        - name: Generation
          matcherType: label
          matcherRegex: shipper_generation
          url: /d/{names.BOARD_TRIAGE}?var-generation=$${{__value.raw:percentencode}}
          urlDisplayLabel: Is it this deploy?
        - name: Host
          matcherType: label
          matcherRegex: shipper_host
          url: /d/{names.BOARD_HOSTS}?var-instance=$${{__value.raw:percentencode}}
          urlDisplayLabel: Show the host
    correlations:
      # On a line that tells of a deploy: how that generation did, beside the line.
      - targetUID: {PROMETHEUS_UID}
        label: Error ratio of the generation
        description: The errors of the generation that this line tells of, against its requests
        config:
          type: query
          field: Line
          target:
            refId: A
            expr: '{names.ERRORS_RATIO}{of_generation}'
          transformations:
            - type: regex
              field: Line
              expression: '{DEPLOY_LINE}'

  - name: Tempo
    type: tempo
    uid: {TEMPO_UID}
    access: proxy
    url: http://tempo:3200
    jsonData:
      tracesToLogsV2:
        datasourceUid: {LOKI_UID}
        # A line is stamped when it is written, a span when it starts: both clocks are the host's, flushing is not.
        spanStartTimeShift: -2s
        spanEndTimeShift: 2s
        filterByTraceID: true
        filterBySpanID: false
        tags:
          - key: service.name
            value: service_name
      tracesToMetrics:
        datasourceUid: {PROMETHEUS_UID}
        spanStartTimeShift: -10m
        spanEndTimeShift: 10m
        tags:
          - key: service.name
            value: {labels.service}
          - key: shipper.generation
            value: {labels.generation}
        queries:
          - name: Error ratio of its generation
            query: {names.ERRORS_RATIO}{{$$__tags}}
          - name: Hosts of its generation
            query: {names.HOSTS_COUNT}{{$$__tags}}
      nodeGraph:
        enabled: true
      search:
        hide: false
"""


def _elasticsearch() -> str:
    return f"""{_MADE}\
# For those who keep logs in Elasticsearch instead of Loki: rename this to elasticsearch.yaml, set URL and index. With
# OpenSearch, install the plugin grafana-opensearch-datasource, take that for the type, and add jsonData.flavor: opensearch
# and jsonData.version. The boards' Elasticsearch rows work with both.
apiVersion: 1

datasources:
  - name: Elasticsearch
    type: elasticsearch
    uid: {ELASTICSEARCH_UID}
    access: proxy
    url: http://elasticsearch:9200
    jsonData:
      index: logs-*
      timeField: "@timestamp"
      logMessageField: body.text
      logLevelField: severity_text
      maxConcurrentShardRequests: 5
      dataLinks:
        - field: trace_id
          datasourceUid: {TEMPO_UID}
          url: $${{__value.raw}}
          urlDisplayLabel: Show the trace
"""


def _provider() -> str:
    return f"""{_MADE}\
apiVersion: 1

providers:
  - name: shipper
    orgId: 1
    folder: {FOLDER}
    folderUid: {FOLDER_UID}
    type: file
    disableDeletion: false
    updateIntervalSeconds: 30
    allowUiUpdates: false
    options:
      path: {BOARDS_PATH}
      foldersFromFilesStructure: false
"""
