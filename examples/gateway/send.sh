#!/bin/sh
# Sends one event in each content mode with curl.
#   GATEWAY=http://localhost:8080 TOPIC=orders ./send.sh
set -eu
gateway=${GATEWAY:-http://localhost:8080}
topic=${TOPIC:-orders}

send() {
    curl --silent --show-error --fail-with-body --retry 5 --max-time 30 "$gateway/topics/$topic" "$@"
    echo
}

echo "binary: attributes in headers, the body is the payload"
send -H 'ce-specversion: 1.0' -H "ce-id: binary-$$" -H 'ce-source: /examples/curl' -H 'ce-type: order.created' \
     -H 'ce-subject: Z%C3%BCrich' -H 'ce-partitionkey: customer-7' \
     -H 'Content-Type: application/json' -d '{"total": 9.50}'

echo "structured: the whole event is one JSON object"
send -H 'Content-Type: application/cloudevents+json' -d '{
  "specversion": "1.0", "id": "structured-'$$'", "source": "/examples/curl", "type": "order.created",
  "partitionkey": "customer-7", "data": {"total": 9.50}}'

echo "batch: an array of them, each answered for itself"
send -H 'Content-Type: application/cloudevents-batch+json' -d '[
  {"specversion": "1.0", "id": "batch-'$$'-1", "source": "/examples/curl", "type": "order.created", "data": {"total": 1}},
  {"specversion": "1.0", "id": "batch-'$$'-2", "source": "/examples/curl", "type": "order.created", "data": {"total": 2}}]'
