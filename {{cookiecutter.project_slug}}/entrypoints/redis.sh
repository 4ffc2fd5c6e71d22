#!/bin/sh
# Starts Redis on REDIS_BIND:REDIS_PORT with its data in REDIS_DIR (and REDIS_PASSWORD, when there is one).
# REDIS_SERVER is the program. The settings go in by stdin: arguments would show the password to every process.
#
# Each change is written to a file at once and to the disk every second: a killed process loses nothing,
# a power cut at most one second. The file is written anew, without what has expired, whenever it has doubled.
# Nothing is ever evicted: a full memory refuses new requests instead.
set -eu

exec "${REDIS_SERVER:-redis-server}" - <<SETTINGS
bind ${REDIS_BIND:-127.0.0.1}
port ${REDIS_PORT:-6379}
dir "${REDIS_DIR:?is not set}"
appendonly yes
appendfsync everysec
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""
maxmemory ${REDIS_MAXMEMORY:-0}
maxmemory-policy noeviction
hash-max-ziplist-value 4096
${REDIS_PASSWORD:+requirepass "$REDIS_PASSWORD"}
SETTINGS
