#!/bin/sh
# Starts the predictions: the supervisor runs the prediction processes and the sender of callbacks.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/clean_environment.sh

exec python -m denzel.worker.supervisor
