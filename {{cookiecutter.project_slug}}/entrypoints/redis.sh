#!/bin/sh
# Starts Redis on REDIS_BIND:REDIS_PORT with its data in REDIS_DIR (and REDIS_PASSWORD, when there is one).
# REDIS_EARLIER_DIR is where they were before, REDIS_SERVER the program, REDIS_CAUSE a file in which to say why it does
# not start. The settings go in by stdin: arguments would show the password to every process.
#
# Each change is written to a file before it is answered and to the disk every second: a killed process loses nothing,
# a power cut at most one second. The file is written anew, without what has expired, whenever it has doubled.
# Nothing is ever evicted: a full memory refuses new requests instead. A backup is a copy as for a replica: one moment's
# data, told at once and without a file of its own.
#
#   redis.sh          starts it; refuses data that it would read wrongly, or not at all, and says why (redis_data.sh)
#   redis.sh check    says only that
#   redis.sh repair   makes the data readable again, and keeps what they were before
#   redis.sh version  says which server this is, as "Redis 8.2"
#   redis.sh receive  takes the data of a backup from stdin, if this server can read them
#   redis.sh restore  puts what was received in the place of the data, and keeps what they were before; Redis is stopped
set -eu

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/clean_environment.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/redis_users.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/redis_data.sh"
if [ "${1:-}" = version ]; then
  version_of_server
  exit
fi
make_folder
cd "${REDIS_DIR:?is not set}" || foreign "$REDIS_DIR" # its name may hold what cannot stand in the settings
case ${1:-start} in
  start) ;;
  *) REDIS_CAUSE= ;;
esac
case ${1:-start} in
  check)
    check_data
    exit
    ;;
  repair)
    repair_data
    exit
    ;;
  receive)
    receive_data
    exit
    ;;
  restore)
    restore_data
    exit
    ;;
esac
end_restoring
take_over
check_data
tell_damage
note_writer
requirepass=
if [ -n "${REDIS_PASSWORD:-}" ]; then
  requirepass="requirepass \"$(printf %s "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')\""
fi

# Redis' own `appendfsync everysec` holds changes back in memory, answered already, for as long as the disk is still busy
# with the flush before. So Redis only writes, and the flush is done from here, until Redis has ended ($$, by then).
flush_every_second() {
  rounds=0
  while kill -0 $$; do
    rounds=$((rounds + 1))
    if [ $rounds -eq 60 ]; then rm -f starting; fi # it has started, whatever comes now
    # Up to Redis 6.2 it is one file; from 7 on there are two while it is written anew.
    sync -d appendonly.aof appendonlydir/*.incr.aof || true
    sleep 0.8 # with the flush itself not more than a second
  done
}

flush_every_second >/dev/null 2>&1 &

# LOG_FORMAT=json: each of its lines becomes an object, through a pipe without a place in the file system from then on.
if [ "${LOG_FORMAT:-}" = json ]; then
  pipe=$(mktemp -u)
  mkfifo -m 600 "$pipe"
  sed -u -e 's/[[:cntrl:]]/ /g' -e 's/[\\"]/\\&/g' \
    -e 's/.*/{"level": "info", "service": "redis", "message": "&"}/' <"$pipe" &
  exec >"$pipe" 2>&1
  rm -f "$pipe"
fi

exec "$server" - <<SETTINGS
bind ${REDIS_BIND:-127.0.0.1}
port ${REDIS_PORT:-6379}
dir .
appendonly yes
appendfsync no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""
maxmemory ${REDIS_MAXMEMORY:-0}
maxmemory-policy noeviction
hash-max-ziplist-value 4096
repl-diskless-sync yes
repl-diskless-sync-delay 0
$requirepass
$(redis_users)
SETTINGS
