#!/bin/bash
# Healthy is who is ready, which the internal port tells.
exec 3<>/dev/tcp/127.0.0.1/2529 || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
read -r line <&3
[[ $line == *' 200 '* ]]
