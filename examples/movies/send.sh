#!/bin/sh
# Signs a movie as Standard Webhooks wants it, and posts it, with nothing of
# Hookrill's. The key is an argument of openssl, so others on this machine may
# see it while that runs: for trying, not for a server.
#
# usage: sh send.sh '{"title":"Ran"}' [GATEWAY]
set -eu

body=$1
gateway=${2:-http://127.0.0.1:8080}

id=msg_$(openssl rand -hex 16)
time=$(date +%s)
key=$(cut -d_ -f2 data/webhook-secret | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
signature=$(printf '%s.%s.%s' "$id" "$time" "$body" |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)

curl --silent --show-error --fail-with-body --data-binary "$body" \
    --header 'Content-Type: application/json' \
    --header "webhook-id: $id" \
    --header "webhook-timestamp: $time" \
    --header "webhook-signature: v1,$signature" \
    "$gateway/ingest/movie"
echo
