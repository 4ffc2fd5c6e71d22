#!/usr/bin/env bash
# The OS commands that only the building of pip packages needs, run as root after requirements.sh, for example:
#
#   apt-get update
#   apt-get install -y --no-install-recommends gcc g++ libc6-dev
#
# Nothing of it comes into the image. What your code needs when it runs belongs into requirements.sh.
# `make updatepipreqs` applies an edit.
set -euo pipefail
