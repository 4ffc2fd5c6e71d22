#!/bin/sh
# Starts RabbitMQ; RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS are made at the first start.
set -eu

# It takes memory for every file that it might open, and Docker allows a billion.
ulimit -n 65536 2>/dev/null || true

exec rabbitmq-server
