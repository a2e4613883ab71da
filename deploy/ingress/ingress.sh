#!/bin/sh
# Runs nginx, and reloads it when the ready replicas of a service change: a name resolves to all
# containers of a service, and the internal port of each tells whether it is ready.
set -eu

SERVICES='auth admin rpc-executor subscription-fanout'
HTTP_PORT=2528
INTERNAL_PORT=2529
folder=/tmp/cairn
mkdir -p "$folder"

replicas() { # service
  getent ahostsv4 "$1" 2>/dev/null | awk '{ print $1 }' | sort -u
}

is_ready() { # address
  curl -fs -m 1 -o /dev/null "http://$1:$INTERNAL_PORT/readyz"
}

upstream() { # service
  all=$(replicas "$1")
  ready=
  for address in $all; do
    if is_ready "$address"; then ready="$ready $address"; fi
  done
  # When none is ready, any may be by the time that it is asked.
  echo "upstream $1 {"
  for address in ${ready:-$all}; do
    echo "  server $address:$HTTP_PORT max_fails=1 fail_timeout=1s;"
  done
  if [ -z "$all" ]; then echo '  server 127.0.0.1:1 down;'; fi
  echo '  keepalive 256;'
  echo '  keepalive_requests 100000;'
  echo '  keepalive_timeout 60s;'
  echo '}'
}

write_upstreams() {
  for service in $SERVICES; do upstream "$service"; done >"$folder/upstreams.new"
  if cmp -s "$folder/upstreams.new" "$folder/upstreams.conf"; then return 1; fi
  mv "$folder/upstreams.new" "$folder/upstreams.conf"
}

if [ -s /run/tls/tls.crt ]; then
  cat >"$folder/tls.conf" <<'TLS'
listen 8443 ssl backlog=4096;
ssl_certificate /run/tls/tls.crt;
ssl_certificate_key /run/tls/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:10m;
TLS
else
  : >"$folder/tls.conf"
fi

# From 1.27.4 on nginx lets idle connections live through a reload, on which a request may be coming.
cat >"$folder/try.conf" <<'TRY'
pid /tmp/try.pid;
events {}
http {
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/unused;
  uwsgi_temp_path /tmp/unused;
  scgi_temp_path /tmp/unused;
  keepalive_min_timeout 5s;
}
TRY
if nginx -t -q -c "$folder/try.conf" 2>/dev/null; then
  echo 'keepalive_min_timeout 5s;' >"$folder/http.conf"
else
  : >"$folder/http.conf"
fi

write_upstreams || true
nginx -g 'daemon off;' -c /etc/cairn/nginx.conf &
nginx=$!
# Requests are answered; what stays open longer than that is a WebSocket.
stop() {
  kill -QUIT "$nginx" 2>/dev/null || exit 0
  for _ in 1 2 3 4 5; do
    sleep 1
    kill -0 "$nginx" 2>/dev/null || exit 0
  done
  kill -TERM "$nginx" 2>/dev/null || true
  exit 0
}
trap stop TERM INT QUIT
while kill -0 "$nginx" 2>/dev/null; do
  if write_upstreams; then nginx -s reload -c /etc/cairn/nginx.conf; fi
  sleep 1 &
  wait $! || true
done
wait "$nginx"
