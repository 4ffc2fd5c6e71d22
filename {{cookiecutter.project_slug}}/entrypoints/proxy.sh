#!/bin/sh
# Starts the reverse proxy (nginx with proxy/nginx.conf) on port 8080.
set -eu
cd "$(dirname "$0")/.."

cat >/tmp/from-env.conf <<SETTINGS
client_max_body_size ${MAX_BODY_BYTES:-10485760};
map \$host \$max_body_bytes { default ${MAX_BODY_BYTES:-10485760}; }
SETTINGS

exec nginx -e stderr -c "$PWD/proxy/nginx.conf" -g "daemon off;"
