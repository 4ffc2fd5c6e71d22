#!/bin/sh
# Sourced by redis.sh: what each of the services may call, beside the default user with REDIS_PASSWORD, who is the
# operator and may call everything. A user exists where there is a password for it, REDIS_API_PASSWORD and so on.
# Nobody of them reads or changes the configuration, other connections, or all keys at once (KEYS, FLUSHALL).

# Who calls what; a command that is not here is refused, in scripts too: tests/attacks/test_redis_users.py.
strings='get set mget del exists expire persist ttl pttl strlen getrange time'
hashes='hget hmget hset hdel hgetall hvals hincrby hstrlen'
lists='llen lindex lrange lrem lpush rpush lpop rpop ltrim'
sets='sadd srem smembers scard sismember zadd zrem zcard zscore zrange zrangebyscore zremrangebyscore'
scripts='eval evalsha'
# Taking over what an earlier version left (denzel/queue/owner.py).
takeover='scan rename type rpoplpush zunionstore sunionstore'
# kombu's, which carries Celery's messages: its queues, its bindings, what it has not acknowledged, events and control.
messages='brpop rpop llen lpush rpush sadd srem smembers hset hget hdel hlen zadd zrem zrange zrangebyscore zrevrangebyscore
  time get set del exists expire pexpire multi exec watch unwatch publish subscribe unsubscribe psubscribe punsubscribe
  eval evalsha script|load script|exists'

redis_user() {
  name=$1 password=$2
  shift 2
  if [ -n "$password" ]; then
    # shellcheck disable=SC2086 # the commands are words
    printf 'user %s on #%s ~* &* -@all +@connection -@admin -@dangerous%s\n' "$name" \
      "$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)" "$(printf ' +%s' $*)"
  fi
}

redis_users() {
  redis_user api "${REDIS_API_PASSWORD:-}" \
    "$strings $hashes $lists $sets $scripts $takeover publish subscribe unsubscribe info client|tracking"
  redis_user denzel "${REDIS_DENZEL_PASSWORD:-}" \
    "$strings $hashes $lists $sets $scripts $takeover $messages pubsub info client|id client|unblock"
  redis_user callbacks "${REDIS_CALLBACKS_PASSWORD:-}" \
    "$scripts time exists expire persist ttl get del hget hmget hset hdel hgetall hincrby hstrlen
     zadd zrange zrangebyscore zrem zscore publish subscribe unsubscribe"
  redis_user monitor "${REDIS_MONITOR_PASSWORD:-}" "$messages hvals scard zcard"
}
