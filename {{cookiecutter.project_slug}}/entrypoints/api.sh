#!/bin/sh
# Starts the API. API_BIND says where it listens (host:port); denzel/server/gunicorn_conf.py holds the rest.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/clean_environment.sh
# shellcheck source-path=SCRIPTDIR/..
. entrypoints/working_directory.sh
# User code has no use for them.
unset GRAFANA_PASSWORD MONITOR_PASSWORD RABBITMQ_PASSWORD REDIS_PASSWORD \
  REDIS_API_PASSWORD REDIS_CALLBACKS_PASSWORD REDIS_DENZEL_PASSWORD REDIS_MONITOR_PASSWORD

exec gunicorn --config python:denzel.server.gunicorn_conf "denzel.api.application:create_app()"
