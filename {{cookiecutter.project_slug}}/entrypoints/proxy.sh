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

cat >/tmp/from-env.conf <<SETTINGS
client_max_body_size ${MAX_BODY_BYTES:-10485760};
map \$host \$max_body_bytes { default ${MAX_BODY_BYTES:-10485760}; }
map \$http_origin \$cors_origin { $origins }
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
  grep -q tls-from-env.conf proxy/nginx.conf || {
    echo "proxy/nginx.conf does not include /tmp/tls-from-env.conf: add that line to its server block for TLS." >&2
  }
  cat >/tmp/tls-from-env.conf <<SETTINGS
listen 8443 ssl;
ssl_certificate "$(realpath -s "$PROXY_CERT")";
ssl_certificate_key "$(realpath -s "$PROXY_KEY")";
SETTINGS
fi

# The monitor, where docker-compose.nginx.yml makes this the only way in. What Flower tells without a password stays in.
: >/tmp/monitor-from-env.conf
if [ -n "${MONITOR_PREFIX:-}" ]; then
  grep -q monitor-from-env.conf proxy/nginx.conf || {
    echo "proxy/nginx.conf does not include /tmp/monitor-from-env.conf: add that line to its server block." >&2
  }
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
    error_page 502 504 = @monitor_away;
}
location @monitor_away {
    default_type text/plain;
    add_header Retry-After 1 always;
    return 503 "The monitor does not answer; try again later.\n";
}
SETTINGS
fi

exec nginx -e stderr -c "$PWD/proxy/nginx.conf" -g "daemon off;"
