#!/bin/sh
# Starts the API. API_BIND says where it listens (host:port); app/gunicorn_conf.py holds the rest.
set -eu
cd "$(dirname "$0")/.."

exec gunicorn --config python:app.gunicorn_conf "app.api:create_app()"
