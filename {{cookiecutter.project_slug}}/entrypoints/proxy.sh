#!/bin/sh
# Starts the reverse proxy (nginx with proxy/nginx.conf) on port 8080.
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

exec nginx -e stderr -c "$PWD/proxy/nginx.conf" -g "daemon off;"
