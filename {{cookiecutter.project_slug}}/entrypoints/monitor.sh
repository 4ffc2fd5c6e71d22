#!/bin/sh
# Starts the monitor (Flower) on MONITOR_BIND_HOST:MONITOR_PORT; the user is admin with MONITOR_PASSWORD. Unless
# MONITOR_CONTROL=on it only shows.
# MONITOR_PREFIX is the path that its pages stand below (/monitor), where a proxy serves them beside the API.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/clean_environment.sh

# In the environment and not among the arguments, where every user of the machine could read it.
export FLOWER_BASIC_AUTH="admin:${MONITOR_PASSWORD:?is missing in .env}"
unset MONITOR_PASSWORD GRAFANA_PASSWORD

# What these programs read beside CELERY_* and FLOWER_*.
unset APP CONFIG_MODULE LOADER PROMETHEUS_MULTIPROC_DIR RESULT_BACKEND SKIP_CHECKS

read_only=true
case ${MONITOR_CONTROL:-off} in [oO][nN]) read_only=false ;; esac

# Each life of a process has a name of its own: one that is over is listed for 30 seconds more, not for ever.
exec python -m denzel.monitor \
  --address="${MONITOR_BIND_HOST:-127.0.0.1}" \
  --port="${MONITOR_PORT:-5555}" \
  --url_prefix="${MONITOR_PREFIX:-}" \
  --read_only="$read_only" \
  --purge_offline_workers=30 \
  --max_tasks=10000
