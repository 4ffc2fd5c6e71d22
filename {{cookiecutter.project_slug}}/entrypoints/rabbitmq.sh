#!/usr/bin/env bash
# Starts RabbitMQ; RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS are made at the first start.
set -eu

# It takes memory for every file that it might open, and Docker allows a billion.
ulimit -n 65536 2>/dev/null || true

# Debian's package has a wrapper on PATH that keeps the log from stdout.
PATH="/usr/lib/rabbitmq/bin:$PATH"
exec rabbitmq-server
