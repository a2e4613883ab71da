#!/usr/bin/env bash
# Installs a Docker engine from Debian's packages where none runs, this is Debian, and we are root.
set -euo pipefail
if docker info >/dev/null 2>&1; then exit 0; fi
if command -v dockerd >/dev/null && command -v docker-compose >/dev/null && command -v debootstrap >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ]; then
  echo 'install-engine.sh: this is no Debian, or not root: no Docker engine is installed' >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker.io docker-compose debootstrap iptables >/dev/null
