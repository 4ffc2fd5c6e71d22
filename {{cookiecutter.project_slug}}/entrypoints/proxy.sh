#!/bin/sh
# Starts the reverse proxy (nginx with proxy/nginx.conf) on port 8080, with TLS on port 8443. MONITOR_PREFIX is the path
# under which it leads to the monitor, which stands below the same path itself.
set -eu
cd "$(dirname "$0")/.."

# Pages of these origins may read the errors of the proxy itself, as they may those of the API.
origins=
set -f
for origin in $(printf %s "${CORS_ORIGINS:-}" | tr , ' '); do
  if [ "$origin" = '*' ]; then
    origins='default *;'
    break
  fi
  origins="$origins \"$(printf %s "$origin" | tr -cd 'a-zA-Z0-9.:/[]_-')\" \$http_origin;"
done

included() {
  grep -q "include /tmp/$1;" proxy/nginx.conf || {
    echo "proxy/nginx.conf does not include /tmp/$1: add the line 'include /tmp/$1;' to its $2 block." >&2
  }
}

cat >/tmp/from-env.conf <<SETTINGS
client_max_body_size ${MAX_BODY_BYTES:-10485760};
map \$host \$max_body_bytes { default ${MAX_BODY_BYTES:-10485760}; }
map \$http_origin \$cors_origin { $origins }
map \$request_uri \$asked_service { "~^${MONITOR_PREFIX:-/monitor}(/|\$)" "The monitor"; default "The API"; }
SETTINGS
cat >>/tmp/from-env.conf <<'SETTINGS'
# A client of HTTP/1.0 may name no host; the API lets that in under its machine's name.
map $http_host $api_host { "" localhost; default $http_host; }
map $http_x_request_id $answer_id { "~^[A-Za-z0-9._:/@+=~-]{1,128}$" $http_x_request_id; default $request_id; }
map $status $error_title {
    400 "Bad request";
    401 "Unauthorized";
    403 "Forbidden";
    404 "Not found";
    405 "Method not allowed";
    408 "Request timeout";
    411 "Length required";
    413 "Request too large";
    429 "Too many requests";
    431 "Request head too large";
    500 "Internal error";
    501 "Not implemented";
    503 "Service unavailable";
    505 "HTTP version not supported";
    default "Refused";
}
map $status $error_description {
    400 "Invalid HTTP request received.";
    403 "The proxy does not let this request in.";
    404 "There is nothing at this path.";
    405 "The proxy does not take this method.";
    413 "The request body is larger than $max_body_bytes bytes (MAX_BODY_BYTES in .env).";
    429 "There are too many requests; try again.";
    431 "URL and headers may have 65536 bytes.";
    500 "Something went wrong in the proxy; its log says what.";
    501 "Of Transfer-Encoding this service knows chunked alone.";
    503 "$asked_service does not answer; try again later.";
    505 "This service speaks HTTP/1.1 and HTTP/1.0.";
    default "The proxy does not take this request.";
}
map $status $error_retry_after { 429 1; 503 1; default ""; }
SETTINGS

# What clients may do, by the settings that the API has: whole seconds, rounded up. nginx has no least rate of a body: the
# one of the API is looked at over 10 seconds, in which something must come here.
included limits-from-env.conf http
awk -v head="${HEAD_TIMEOUT:-10}" -v idle="${KEEPALIVE_TIMEOUT:-75}" -v send="${SEND_TIMEOUT:-30}" \
  -v least="${BODY_MIN_RATE:-1000}" -v time="${BODY_TIMEOUT:-60}" -v rate="${BODY_RATE:-50000}" \
  -v size="${MAX_BODY_BYTES:-10485760}" '
  function seconds(number) { number += 0; return (number > int(number) ? int(number) + 1 : int(number)) "s" }
  BEGIN {
    body = rate + 0 ? time + size / rate : 86400
    print "client_header_timeout " seconds(head) ";"
    print "keepalive_timeout " seconds(idle) ";"
    print "send_timeout " seconds(send) ";"
    print "client_body_timeout " (least + 0 ? "10s" : seconds(body)) ";"
    print "lingering_timeout 10s;"
    print "lingering_time " seconds(body) ";"
    print "large_client_header_buffers 2 64k;"  # a head of 64 KiB fits in; the API knows by the byte
  }' >/tmp/limits-from-env.conf

# Errors of the proxy itself look like those of the API.
included errors-from-env.conf server
cat >/tmp/errors-from-env.conf <<'SETTINGS'
error_page 400 401 402 403 404 405 406 408 409 410 411 412 413 415 416 421 429 500 501 503 505 507 /.error;
error_page 414 494 =431 /.error;
error_page 495 496 497 =400 /.error;
error_page 502 504 =503 /.error;
location = /.error {
    internal;
    default_type application/json;
    add_header Retry-After $error_retry_after always;
    add_header X-Request-Id $answer_id always;
    add_header Access-Control-Allow-Origin $cors_origin always;
    return 200 '{"title": "$error_title", "description": "$error_description"}';  # the error's status stays
}
SETTINGS

# The certificate and the key that docker-compose.tls.yml names, below the project's folder.
: >/tmp/tls-from-env.conf
if [ -n "${PROXY_CERT:-}" ]; then
  for file in "$PROXY_CERT" "$PROXY_KEY"; do
    if [ ! -r "$file" ]; then
      echo "$file (PROXY_CERT and PROXY_KEY in .env): there is no such file that user $(id -u) can read." >&2
      exit 1
    fi
  done
  included tls-from-env.conf server
  cat >/tmp/tls-from-env.conf <<SETTINGS
listen 8443 ssl;
ssl_certificate "$(realpath -s "$PROXY_CERT")";
ssl_certificate_key "$(realpath -s "$PROXY_KEY")";
SETTINGS
fi

# The monitor, where docker-compose.nginx.yml makes this the only way in. What Flower tells without a password stays in.
: >/tmp/monitor-from-env.conf
if [ -n "${MONITOR_PREFIX:-}" ]; then
  included monitor-from-env.conf server
  # A proxy/nginx.conf of before has words of its own, those of the API.
  away=
  grep -q errors-from-env.conf proxy/nginx.conf || away='error_page 502 504 = @monitor_away;'
  cat >/tmp/monitor-from-env.conf <<SETTINGS
location = $MONITOR_PREFIX {
    absolute_redirect off;
    return 308 $MONITOR_PREFIX/;
}
location = $MONITOR_PREFIX/metrics {
    return 404;
}
location $MONITOR_PREFIX/ {
    set \$monitor monitor:5555;
    proxy_pass http://\$monitor;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host \$http_host;
    proxy_set_header X-Real-IP \$remote_addr;
    proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto \$scheme;
    proxy_connect_timeout 5s;
    $away
}
location @monitor_away {
    default_type application/json;
    add_header Retry-After 1 always;
    return 503 '{"title": "Service unavailable", "description": "The monitor does not answer; try again later."}';
}
SETTINGS
fi

exec nginx -e stderr -c "$PWD/proxy/nginx.conf" -g "daemon off;"
