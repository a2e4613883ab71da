#!/bin/sh
# Runs the service that is named first; anything else is a command of the command line.
set -eu
cd /app
name=${1:-}
case $name in
  auth | admin | rpc-executor | subscription-fanout | sync)
    shift
    exec node "services/$name/main.ts" "$@"
    ;;
  *) exec node services/ctl/main.ts "$@" ;;
esac
