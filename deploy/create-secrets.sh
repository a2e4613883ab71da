#!/bin/sh
# Makes the secrets of a deployment in a folder, ./secrets unless told. What is there stays.
# usage: deploy/create-secrets.sh [folder]
set -eu
folder=${1:-secrets}
# Containers run as users of their own, who must read the files: the folder keeps others out.
mkdir -p "$folder/tls"
chmod 700 "$folder"
umask 022

secret() { # name, bytes
  [ -s "$folder/$1" ] || head -c "$2" /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$1"
}

for name in postgres-owner-password postgres-service-password admin-token setup-token \
  grafana-password nats-route-password; do
  secret "$name" 24
done
secret node-key 32
secret secret-key 32

passwords=$folder/nats-passwords.conf
new=$passwords.new
: >"$new"
for service in auth admin rpc-executor subscription-fanout sync; do
  secret "nats-$service-password" 24
  variable=$(printf %s "$service" | tr 'a-z-' 'A-Z_')_PASSWORD
  printf '%s: "%s"\n' "$variable" "$(cat "$folder/nats-$service-password")" >>"$new"
done
mv "$new" "$passwords"

password=$(cat "$folder/nats-route-password")
{
  printf 'authorization { user: route, password: "%s" }\nroutes: [\n' "$password"
  for server in nats-1 nats-2 nats-3; do
    printf '  "nats-route://route:%s@%s:6222"\n' "$password" "$server"
  done
  echo ']'
} >"$folder/nats-routes.conf"
echo "The secrets are in $folder; the admin token is in $folder/admin-token."
