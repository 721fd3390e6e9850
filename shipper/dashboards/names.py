"""Every metric that a board, rule or alert may name, once: what hosts and the deploy keeper push, and what rules record.

A query that spells a name by itself keeps working in review and draws nothing in Grafana; the tests hold every query to
the sets at the end of this file. Recorded names follow ``level:metric:operation``. They carry no window: windows are
configuration (`shipper.dashboards.config.Windows`), and ``rate5m`` over 10 minutes would be a lie.
"""

from __future__ import annotations

# --- pushed by every host -------------------------------------------------------------------------------------------
REQUESTS = "shipper_requests_total"
REQUEST_DURATION = "shipper_request_duration_seconds"
HOST_INFO = "shipper_host_info"
HOST_STARTED = "shipper_host_started_timestamp_seconds"
GENERATION_STARTED = "shipper_generation_started_timestamp_seconds"
RELEASE_BUILT = "shipper_release_built_timestamp_seconds"
HOST_STATE = "shipper_host_state"
NOTICES = "shipper_notices"
FAREWELLS = "shipper_farewells_total"
DRAIN_LEFT_BYTES = "shipper_drain_left_bytes"
BACKLOG_BYTES = "shipper_backlog_bytes"
OLDEST_UNACKNOWLEDGED = "shipper_oldest_unacknowledged_seconds"
EXPOSURE = "shipper_exposure_seconds"
ACKNOWLEDGED_RECORDS = "shipper_acknowledged_records_total"
ACKNOWLEDGED_BYTES = "shipper_acknowledged_bytes_total"
REQUESTS_SENT = "shipper_requests_sent_total"
DESTINATION_UP = "shipper_destination_up"
FALLBACK_HELPING = "shipper_fallback_helping"
QUARANTINED_RECORDS = "shipper_quarantined_records_total"
REJECTED_RECORDS = "shipper_rejected_records_total"
DROPPED_RECORDS = "shipper_dropped_records_total"
LOST_BYTES = "shipper_lost_bytes_total"
SERVICE_LOST_RECORDS = "shipper_service_lost_records_total"
PROBLEMS = "shipper_problems_total"
SPOOL_BYTES = "shipper_spool_bytes"
STREAMS = "shipper_streams"
OPEN_FILES = "shipper_open_files"
RESIDENT_MEMORY = "process_resident_memory_bytes"
CPU_SECONDS = "process_cpu_seconds_total"

HISTOGRAMS = (REQUEST_DURATION, EXPOSURE)
"""Base names; each is pushed as ``_bucket``, ``_sum`` and ``_count``."""

# --- pushed by the deploy keeper, one series a fact -----------------------------------------------------------------
DEPLOY_STARTED = "shipper_deploy_started_timestamp_seconds"
DEPLOY_FINISHED = "shipper_deploy_finished_timestamp_seconds"
DEPLOY_WITHDRAWN = "shipper_deploy_withdrawn_timestamp_seconds"
DESIRED_HOSTS = "shipper_generation_desired_hosts"
EPISODE_STARTED = "shipper_generation_episode_started_timestamp_seconds"
KEEPER_INFO = "shipper_keeper_info"

# --- computed by `shipper fleet watch`, or a gateway, for each ``subject`` ("errors", "latency") ------------------------
VERDICT = "shipper_verdict"
"""Of the newest generation: 1 worse, 0 no difference seen, -1 better, -2 not enough data, -3 cannot tell. Look at its age."""
VERDICT_REQUESTS = "shipper_verdict_requests"
VERDICT_ERRORS = "shipper_verdict_errors"
VERDICT_BASELINE_REQUESTS = "shipper_verdict_baseline_requests"
VERDICT_BASELINE_ERRORS = "shipper_verdict_baseline_errors"
VERDICT_FACTOR = "shipper_verdict_factor"
VERDICT_LOW = "shipper_verdict_interval_low"
VERDICT_HIGH = "shipper_verdict_interval_high"
VERDICT_SEEN = "shipper_verdict_seen_factor"

# --- recorded by (env, service, generation) -------------------------------------------------
HOSTS_COUNT = "service_generation:shipper_hosts:count"
"""Hosts alive now: gone at once with a stale marker, after three pushes without one."""
STARTED = "service_generation:shipper_generation_started:min"
"""When the generation (its last episode) began, unix seconds; does not move when its first host dies."""
AGE = "service_generation:shipper_age_seconds"
NEWEST = "service_generation:shipper_newest"
"""1 for the generation that started last among those with hosts; absent for all others."""
RELEASE_INFO = "service_generation:shipper_release:info"
"""1, with ``release``: the one most hosts of the generation run. For joins: exactly one series a generation."""
PREV_INFO = "service_generation:shipper_prev:info"
"""1, with ``prev_generation``: the generation that was the newest before this one."""
REQUESTS_RATE = "service_generation:shipper_requests:rate"
ERRORS_RATE = "service_generation:shipper_errors:rate"
ERRORS_RATIO = "service_generation:shipper_errors:ratio_rate"
"""Errors to requests over ``windows.rate``; 0, not absent, for a generation without errors. Mask it with REQUESTS_INCREASE."""
SLOW_RATE = "service_generation:shipper_slow:rate"
"""Requests a second that took longer than the objective."""
SLOW_RATIO = "service_generation:shipper_slow:ratio_rate"
REQUESTS_INCREASE = "service_generation:shipper_requests:increase"
"""Requests in the last ``windows.role`` (10m)."""
ERRORS_INCREASE = "service_generation:shipper_errors:increase"
SLOW_INCREASE = "service_generation:shipper_slow:increase"
REQUESTS_FIRST = "service_generation:shipper_requests:first"
"""Requests since birth while the generation is younger than ``age`` (labels ``windows.ages``: "5m", "30m"). Read it by
``last_over_time(...[14d])``: that is the count of the first 5 or 30 minutes, also of a generation that lived shorter."""
ERRORS_FIRST = "service_generation:shipper_errors:first"
SLOW_FIRST = "service_generation:shipper_slow:first"
ONE_HOST_ERRORS = "service_generation:shipper_one_host_errors:ratio"
"""The share of the generation's errors in ``windows.role`` that its worst host has: 1 means one host, 1/hosts means all."""
HOSTS_SEEN = "service_generation:shipper_hosts_seen:count"
"""Hosts that were alive at some time in the last ``windows.ended`` (30m)."""
HOSTS_SILENT = "service_generation:shipper_hosts_silent:count"
"""Of those, hosts that fell silent without a farewell."""

# --- recorded by (env, service, role) -------------------------------------------------------------
ROLE_REQUESTS = "service_role:shipper_requests:increase"
"""Requests in ``windows.role``, ``role`` = "new" (the newest generation), "old" (all others), "rest" (the newest without
the host that has most of its errors)."""
ROLE_ERRORS = "service_role:shipper_errors:increase"
ROLE_SLOW = "service_role:shipper_slow:increase"

# --- recorded by (env, service) -----------------------------------------------------------------------------------------
NEWEST_STARTED = "service:shipper_generation_started:max"
"""The start of the newest generation with hosts. It falls when a generation is withdrawn."""
RELEASE_BUILT_CURRENT = "service:shipper_release_built_seconds:current"
"""When the newest generation's release was built. It falls at a rollback. Only where build times are known."""
ERRORS_Z = "service:shipper_errors_new_vs_old:z"
"""How many standard deviations the new generation's error ratio lies above the old ones', same minutes, bursts allowed for."""
ERRORS_REST_Z = "service:shipper_errors_rest_vs_old:z"
"""The same without the worst host: still high means the generation, low means one host."""
SLOW_Z = "service:shipper_slow_new_vs_old:z"
FIRST_MEDIAN_PREV = "service:shipper_errors_first:median_prev"
"""Median error ratio of the first 30 minutes of the generations before the newest (``windows.history``, 14d)."""
FIRST_COUNT_PREV = "service:shipper_errors_first:count_prev"
"""How many generations that median is made of."""
SERVICE_REQUESTS_RATE = "service:shipper_requests:rate"
SERVICE_ERRORS_RATE = "service:shipper_errors:rate"
SERVICE_SLOW_RATE = "service:shipper_slow:rate"
BURN_ERRORS = "service:shipper_slo_errors:ratio"
"""Errors to requests over ``window`` (labels "5m" ... "3d"); divide by the error budget for the burn rate."""
BURN_SLOW = "service:shipper_slo_slow:ratio"

# --- recorded once ------------------------------------------------------------------------------------------------------
FLEET_SILENT = "fleet:shipper_hosts_silent:ratio"
"""The share of all hosts heard of in ``windows.together`` that fell silent in it: a fifth or more is an outage of ours."""

HOST_METRICS = frozenset({
    REQUESTS, *(f"{base}{suffix}" for base in HISTOGRAMS for suffix in ("_bucket", "_sum", "_count")),
    HOST_INFO, HOST_STARTED, GENERATION_STARTED, RELEASE_BUILT, HOST_STATE, NOTICES, FAREWELLS, DRAIN_LEFT_BYTES,
    BACKLOG_BYTES, OLDEST_UNACKNOWLEDGED, ACKNOWLEDGED_RECORDS, ACKNOWLEDGED_BYTES, REQUESTS_SENT, DESTINATION_UP,
    FALLBACK_HELPING, QUARANTINED_RECORDS, REJECTED_RECORDS, DROPPED_RECORDS, LOST_BYTES, SERVICE_LOST_RECORDS, PROBLEMS,
    SPOOL_BYTES, STREAMS, OPEN_FILES, RESIDENT_MEMORY, CPU_SECONDS,
})  # fmt: skip
KEEPER_METRICS = frozenset({
    DEPLOY_STARTED, DEPLOY_FINISHED, DEPLOY_WITHDRAWN, DESIRED_HOSTS, EPISODE_STARTED, KEEPER_INFO,
})  # fmt: skip
VERDICT_METRICS = frozenset({
    VERDICT, VERDICT_REQUESTS, VERDICT_ERRORS, VERDICT_BASELINE_REQUESTS, VERDICT_BASELINE_ERRORS, VERDICT_FACTOR,
    VERDICT_LOW, VERDICT_HIGH, VERDICT_SEEN,
})  # fmt: skip
EMITTED = HOST_METRICS | KEEPER_METRICS | VERDICT_METRICS
"""Whatever a query may read that no rule records (and the mapped request metrics of the configuration)."""

GENERATION_RECORDED = frozenset({
    HOSTS_COUNT, STARTED, AGE, NEWEST, RELEASE_INFO, PREV_INFO, REQUESTS_RATE, ERRORS_RATE, ERRORS_RATIO, SLOW_RATE,
    SLOW_RATIO, REQUESTS_INCREASE, ERRORS_INCREASE, SLOW_INCREASE, REQUESTS_FIRST, ERRORS_FIRST, SLOW_FIRST,
    ONE_HOST_ERRORS, HOSTS_SEEN, HOSTS_SILENT,
})  # fmt: skip
SERVICE_RECORDED = frozenset({
    ROLE_REQUESTS, ROLE_ERRORS, ROLE_SLOW, NEWEST_STARTED, RELEASE_BUILT_CURRENT, ERRORS_Z, ERRORS_REST_Z, SLOW_Z,
    FIRST_MEDIAN_PREV, FIRST_COUNT_PREV, SERVICE_REQUESTS_RATE, SERVICE_ERRORS_RATE, SERVICE_SLOW_RATE, BURN_ERRORS,
    BURN_SLOW,
})  # fmt: skip
RECORDED = GENERATION_RECORDED | SERVICE_RECORDED | {FLEET_SILENT}
"""What the rules record."""

# --- boards, by the uid that alerts and boards link to ------------------------------------------------------------------
BOARD_TRIAGE = "shipper-triage"
BOARD_GENERATIONS = "shipper-generations"
BOARD_COMPARE = "shipper-compare"
BOARD_HOSTS = "shipper-hosts"
BOARD_ROLLOUT = "shipper-rollout"
BOARD_SLO = "shipper-slo"
BOARD_SHIPPING = "shipper-shipping"
BOARDS = (BOARD_TRIAGE, BOARD_GENERATIONS, BOARD_COMPARE, BOARD_HOSTS, BOARD_ROLLOUT, BOARD_SLO, BOARD_SHIPPING)
