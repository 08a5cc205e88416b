#!/bin/sh
# The web interface and the daemon in one container: it makes the Dagster instance, then starts both, and ends with them.
set -eu
virnucpro drops > /dev/null
exec dagster dev --workspace /opt/virnucpro/workspace.yaml --host 0.0.0.0 --port 3000
