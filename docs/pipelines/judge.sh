#!/bin/sh
# Watch a release until it is known whether it is worse than the one before, and go back if it is.
#
#   judge.sh PREVIOUS COMMAND...    "COMMAND... PREVIOUS" deploys the release that served before
#
# Reads SHIPPER_SERVICE, SHIPPER_ENVIRONMENT, SHIPPER_RELEASE, SHIPPER_GENERATION, PROMETHEUS, WATCH_SECONDS (1800).
# Ends with 0: not worse. 1: worse, and the release before was deployed again. 3: it cannot be told, and the release stays.
# 4: worse, but going back failed. Anything else: nothing was judged, and the release stays.
set -eu
previous=$1
shift
shipper verdict --help >/dev/null || exit 2  # an installation that is broken must not look like a verdict

status=0
shipper verdict --service "$SHIPPER_SERVICE" --env "$SHIPPER_ENVIRONMENT" --candidate "$SHIPPER_GENERATION" \
  --prometheus "$PROMETHEUS" --watch --timeout "${WATCH_SECONDS:-1800}" || status=$?
[ "$status" = 1 ] || exit "$status"

echo "$SHIPPER_RELEASE is worse: going back to $previous"
shipper deploy rollback --release "$previous" --from "$SHIPPER_RELEASE" --generation "$SHIPPER_GENERATION-back" \
  -- "$@" "$previous" || exit 4
exit 1
