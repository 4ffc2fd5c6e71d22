#!/bin/sh
# Starts the predictions: the supervisor runs the prediction processes and the sender of callbacks.
set -eu
cd "$(dirname "$0")/.."

exec python -m denzel.worker.supervisor
