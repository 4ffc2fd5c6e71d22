#!/bin/sh
# Starts the predictions: the supervisor runs the prediction processes and the sender of callbacks.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/clean_environment.sh
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/working_directory.sh
unset GRAFANA_PASSWORD MONITOR_PASSWORD RABBITMQ_PASSWORD REDIS_PASSWORD # user code has no use for them

exec python -m denzel.worker.supervisor
