#!/bin/sh
# Sourced by redis.sh, in the folder of Redis' data: whether this server can go on with them, and how they are made
# readable again, or those of a backup. Nothing here deletes data: what they were before stays in a folder beside.

server=${REDIS_SERVER:-redis-server}

# Ends this script with the reason why Redis cannot start.
refuse() {
  echo "REDIS CANNOT START: $1" >&2
  tell "Redis cannot start: $1"
  exit 1
}

# Says in the file REDIS_CAUSE, where there is one, why Redis does not start; without a reason, that it does.
tell() {
  if [ -n "${REDIS_CAUSE:-}" ]; then { printf '%s\n' "$1" >"$REDIS_CAUSE"; } 2>/dev/null || true; fi
}

# Redis itself ends on some damaged data. That nobody hears but its log: so where the last start was not a long one, it
# is looked at, and told. A cut off end counts, too, with which it does start, and takes that back by that.
tell_damage() {
  file=$(data_file)
  tell ""
  if [ -e starting ] && [ -n "$file" ] && ! check_aof "$file" >/dev/null; then
    tell "The data of Redis are damaged. To make them readable, without deleting any: make repair"
  fi
  { : >starting; } 2>/dev/null || true
}

# Ends this script as a file or folder is another user's.
foreign() {
  refuse "its data in $REDIS_DIR belong to user $(owner_of "$1"), and this one is $(id -u). To correct that: make repair"
}

# Makes the folder of the data, as far as this user may.
make_folder() {
  if [ ! -d "$REDIS_DIR" ] && ! (umask 077 && mkdir -p "$REDIS_DIR" 2>/dev/null); then
    foreign "$(dirname "$REDIS_DIR")"
  fi
}

# Copies the data from where they were before, once, if there are none here: they stay there, too.
take_over() {
  if [ -z "${REDIS_EARLIER_DIR:-}" ] || [ -n "$(data_file)" ] || [ -e taken-over ]; then return; fi
  for file in appendonlydir appendonly.aof; do
    if [ -e "$REDIS_EARLIER_DIR/$file" ]; then
      if [ -e taking-over ]; then rm -r taking-over; fi
      mkdir taking-over
      if ! cp -R "$REDIS_EARLIER_DIR/." taking-over/; then
        refuse "its data could not be copied from $REDIS_EARLIER_DIR into $PWD: is its disk full? They are there as before"
      fi
      if [ -e taking-over/written-by ]; then mv taking-over/written-by .; fi
      sync
      mv "taking-over/$file" .
      mv taking-over taken-over
      echo "The data of Redis were copied from $REDIS_EARLIER_DIR into $PWD."
      return
    fi
  done
}

# Refuses data that are another user's, of a newer server, or end in zeros: Redis would say less, or begin with none.
check_data() {
  for file in . written-by appendonly.aof appendonlydir appendonlydir/*; do
    if [ -e "$file" ] && { [ ! -r "$file" ] || [ ! -w "$file" ]; }; then
      foreign "$file"
    fi
  done
  now=$(version_of_server) written=$(cat written-by 2>/dev/null || true)
  # Before 7.0 Redis does not know this folder.
  if [ -d appendonlydir ] && [ -z "$written" ]; then written="${now% *} 7.0"; fi
  if [ "${now% *}" = "${written% *}" ] && [ "$now" != "$written" ] && [ "$(oldest "$now" "$written")" = "${now#* }" ]; then
    refuse "its data in $PWD are of $written, which $now cannot read. They stay as they are: start $written or a newer one \
(REDIS_IMAGE in .env; for make dev the redis-server on PATH)"
  fi
  for file in appendonly.aof appendonlydir/*.incr.aof; do
    if [ -s "$file" ] && [ "$(tail -c 9 "$file" | tr -d '\0' | wc -c)" -eq 0 ]; then
      refuse "its data in $PWD end in zeros, as after a power cut ($file). To make them readable: make repair"
    fi
  done
}

# Notes which server writes from now on.
note_writer() {
  now=$(version_of_server)
  if [ "$(cat written-by 2>/dev/null)" != "$now" ]; then
    { echo "$now" >written-by.new && mv written-by.new written-by; } || echo "The disk of $PWD seems to be full." >&2
  fi
}

# Makes the data readable, and says what was done.
repair_data() {
  give_to_owner
  file=$(data_file)
  if [ -z "$file" ]; then
    echo "There are no data of Redis in $PWD: nothing to repair."
    return
  fi
  if (check_data) 2>/dev/null && check_aof "$file" >/dev/null; then
    echo "The data of Redis in $PWD are whole: nothing to repair."
    return
  fi
  if told=$( (check_data) 2>&1 | grep -E 'belong to|cannot read'); then
    told=${told#REDIS CANNOT START: }
    case $told in *'make repair') told="${told%make repair}sudo chown -R $(id -u) '$PWD'" ;; esac
    refuse "$told"
  fi
  copy="before-repair-$(date -u +%Y%m%d-%H%M%S)"
  if ! { mkdir "$copy" && cp -pR "${file%%/*}" "$copy/"; }; then
    refuse "its data could not be copied into $PWD/$copy: nothing is changed"
  fi
  if ! check_aof --fix "$file" >/dev/null; then
    for part in appendonlydir/*.incr.aof; do check_aof --fix "$part" >/dev/null || true; done
    if ! check_aof "$file" >/dev/null; then # what was written anew last is not readable: what came after it is
      sed '/ type b$/d' "$file" >"$file.new" && mv "$file.new" "$file"
    fi
    check_aof "$file" || refuse "its data in $PWD cannot be repaired; what they were before is in $copy there"
  fi
  give_to_owner
  echo "The data of Redis in $PWD are readable again. What they were before is in $copy there, for you to remove."
}

# Takes the data of a backup from stdin, and refuses what this server cannot read; the data are as they were.
receive_data() {
  file=backup-received
  if ! cat >$file.part; then
    rm -f $file.part
    refuse "the backup could not be written into $PWD: is its disk full? Nothing is changed"
  fi
  if ! told=$(check_file redis-check-rdb $file.part); then
    rm -f $file.part
    case $told in
      *"Can't handle RDB format version"*) told="of a newer version than $(version_of_server)" ;;
      *) told=damaged ;;
    esac
    refuse "the data of the backup are $told. Nothing is changed"
  fi
  mv $file.part $file
  sync
}

# Puts what was received in the place of the data. Wherever this is interrupted, the next start ends it.
restore_data() {
  if [ ! -e backup-received ]; then refuse "there is no backup in $PWD"; fi
  mv backup-received backup-to-restore
  end_restoring
}

end_restoring() {
  if [ ! -e backup-to-restore ]; then return; fi
  copy="before-restore-$(date -u +%Y%m%d-%H%M%S)"
  for file in appendonlydir appendonly.aof written-by; do
    if [ -e "$file" ]; then
      mkdir -p "$copy"
      mv "$file" "$copy/"
    fi
  done
  if [ -e "$copy" ]; then echo "What was there before is in $copy of $PWD, for you to remove."; fi
  mv backup-to-restore appendonly.aof # every version reads it, and a newer one makes it its own
  sync
}

owner_of() {
  # shellcheck disable=SC2012 # of one file, whose name is not looked at
  ls -ldn "$1" | awk '{print $3}'
}

# As root of a container: the data belong to the user that Redis has there.
give_to_owner() {
  if [ -n "${REDIS_OWNER:-}" ]; then chown -R "$REDIS_OWNER" "$(dirname "$REDIS_DIR")"; fi
}

# The kind and version of the server, as "Redis 8.2".
version_of_server() {
  "$server" --version | sed -En 's/^(Redis|Valkey) server v=([0-9]+\.[0-9]+).*/\1 \2/p'
}

# The older one of two versions, without its kind.
oldest() {
  printf '%s\n%s\n' "${1#* }" "${2#* }" | sort -t . -k 1,1n -k 2,2n | head -n 1
}

# What Redis reads at its start; empty where there is nothing.
data_file() {
  for file in appendonlydir/appendonly.aof.manifest appendonly.aof; do
    if [ -e "$file" ]; then
      echo "$file"
      return
    fi
  done
}

# Checks such a file.
check_aof() {
  check_file redis-check-aof "$@"
}

# Checks a file by the server's program, which does that under another name.
check_file() {
  tools=$(mktemp -d)
  ln -s "$(command -v "$server")" "$tools/$1"
  program=$1 answer=0
  shift
  yes | "$tools/$program" "$@" >"$tools/said" 2>&1 || answer=$?
  tail -n 12 "$tools/said"
  rm -r "$tools"
  return "$answer"
}
