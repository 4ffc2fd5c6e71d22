#!/usr/bin/env bash
# Whether a service is well, for the health checks of docker-compose.yml. No interpreter is started for it:
#   healthy.sh http PORT PATH   something answers 200 there
#   healthy.sh touched FILE     the file was touched within the last 10 seconds
set -eu

case $1 in
  http)
    exec 3<>"/dev/tcp/127.0.0.1/$2"
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$3" >&3
    read -r _ code _ <&3
    [ "$code" = 200 ]
    ;;
  touched)
    [ -n "$(find "$2" -newermt '-10 seconds')" ]
    ;;
esac
