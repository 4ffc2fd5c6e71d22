#!/usr/bin/env bash
# The OS commands of your pipeline, run as root while the image is built, for example:
#
#   apt-get update
#   apt-get install -y --no-install-recommends libgomp1
#   rm -rf /var/lib/apt/lists/*
#
# `make updateosreqs` applies an edit.
set -euo pipefail
