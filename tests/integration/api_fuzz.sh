#!/usr/bin/env bash
# The HTTP interface against its description: ops/openapi.json is valid OpenAPI 3.1, and what the daemon and `undine serve` answer to
# requests made from it, right and wrong ones, is what it says (schemathesis, every check).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/python_env.sh"
python_env api_requirements.txt
command -v curl > /dev/null || skip "curl is not on this machine"
bin=$(dirname "$python")
"$bin/openapi-spec-validator" "$ROOT/ops/openapi.json" > "$tmp/valid" || fail "$(cat "$tmp/valid")"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
pids=$BROKER_PID
read -r -u "${BROKER[0]}" _ boot
echo 0123456789abcdef-secret > "$tmp/token"
"$UNDINE" generate --events 5000 --seed 5 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
"$UNDINE" produce --brokers "$boot" --input "$tmp/events.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$UNDINE" run --config "$ROOT/configs/demo.yaml" --state "$tmp/state" -o brokers="$boot" -o http.listen="127.0.0.1:$port" \
  -o http.token_file="$tmp/token" -o snapshot.interval=500ms > "$tmp/run.json" 2> "$tmp/run.log" &
daemon=$!
pids="$pids $daemon"
scored() { curl -s -H 'Content-Type: application/json' -d '{}' "http://127.0.0.1:$1/v1/score" | grep -q '"scores"'; }
until_scored() {
  for _ in $(seq 600); do
    if scored "$1"; then return 0; fi
    sleep 0.1
  done
  fail "a minute was not enough for a version"
}
until_scored "$port"
"$UNDINE" serve --versions "$tmp/state/versions" --listen 127.0.0.1:0 2> "$tmp/serve.log" &
server=$!
pids="$pids $server"
sleep 1
served=$(sed -n 's/.*msg=listening port=\([0-9]*\).*/\1/p' "$tmp/serve.log")
until_scored "$served"

# The description cannot know the fields of a model; with those of configs/demo.yaml every request that fits must be taken.
python3 - "$ROOT/ops/openapi.json" "$tmp/openapi.json" << 'END'
import json, sys
d = json.load(open(sys.argv[1]))
ids = d["components"]["schemas"]["Features"]["additionalProperties"]
def features(*names): return {"type": ["object", "null"], "properties": {n: ids for n in names}, "additionalProperties": False}
request = d["components"]["schemas"]["ScoreRequest"]["properties"]
step = features("item", "category")
request.update(profile=features(), context=features("hour"))
request["candidates"]["items"] = step
request["sequences"] = {"type": ["object", "null"], "properties": {"clicks": {"type": ["array", "null"], "items": step}}, "additionalProperties": False}
json.dump(d, open(sys.argv[2], "w"))
END
fuzz() { # fuzz PORT OPTION...
  port=$1
  shift
  (cd "$tmp" && "$bin/st" run "$tmp/openapi.json" --url "http://127.0.0.1:$port" --checks all --max-examples 60 --seed 1 --no-color "$@") \
    > "$tmp/fuzz.out" 2>&1 || { cat "$tmp/fuzz.out"; fail "port $port does not do what is described"; }
  grep -E "generated|Tested" "$tmp/fuzz.out"
}
fuzz "$port" --header 'Authorization: Bearer 0123456789abcdef-secret'
fuzz "$served" --include-path-regex '^/(v1/score|v1/versions|metrics|healthz|readyz|openapi.json)$' --exclude-checks positive_data_acceptance # it takes no `time`
kill -TERM "$daemon" "$server"
wait "$daemon" || fail "the daemon ended with $?"
wait "$server" || fail "undine serve ended with $?"
say ok
