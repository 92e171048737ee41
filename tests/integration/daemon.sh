#!/usr/bin/env bash
# The daemon from outside: /metrics, /healthz and /readyz while it learns, a clean end at SIGTERM, and its state taken up
# again.
. "$(dirname "$0")/lib.sh"
command -v curl > /dev/null || skip "curl is not on this machine"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
broker_pid=$BROKER_PID
pids=$broker_pid
read -r -u "${BROKER[0]}" _ boot
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

start() {
  "$UNDINE" run --config "$ROOT/configs/demo.yaml" --state "$tmp/state" -o brokers="$boot" -o http.listen="127.0.0.1:$port" \
    -o http.token_file="$tmp/token" -o snapshot.interval=500ms > "$tmp/run.json" 2>> "$tmp/run.log" &
  run=$!
  pids="$broker_pid $run"
}
stop() {
  kill -TERM "$run"
  wait "$run" || fail "after SIGTERM it ended with $?"
  pids=$broker_pid
}
# wait_for TEXT COMMAND...: until the command succeeds, at most a minute
wait_for() {
  what=$1
  shift
  for _ in $(seq 600); do
    if "$@"; then return 0; fi
    kill -0 "$run" 2> /dev/null || fail "the daemon ended before: $what"
    sleep 0.1
  done
  fail "a minute was not enough: $what"
}
status() { [ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url$1")" = "$2" ]; }
# metric NAME: its value, from one scrape of /metrics
metric() { curl -sf "$url/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
reached() { [ "$(metric "$1")" = "$2" ]; }

echo 0123456789abcdef-secret > "$tmp/token"
"$UNDINE" generate --events 20000 --seed 5 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
events=$(field "$tmp/generate.json" events)
start
wait_for "/healthz answers" status /healthz 200
"$UNDINE" produce --brokers "$boot" --input "$tmp/events.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
wait_for "every event was read" reached undine_events_total "$events"
wait_for "/readyz is green" status /readyz 200
grep -q '"ready":true,"phase":"running"' "$tmp/body" || fail "/readyz says $(cat "$tmp/body")"
status /nothing 404 || fail "an unknown path is not 404"
echo "down 1" >&"${BROKER[1]}"
wait_for "/readyz is red without a broker" status /readyz 503
status /healthz 200 || fail "a broker that is away makes the daemon unhealthy"
echo "up 1" >&"${BROKER[1]}"
wait_for "/readyz is green again" status /readyz 200

curl -sf "$url/metrics" > "$tmp/metrics"
value() { awk -v name="$1" '$1 == name { print $2 }' "$tmp/metrics"; }
sum=0
for name in events_applied_total events_waiting events_late_total events_duplicate_total events_malformed_total events_filtered_total; do
  sum=$((sum + $(value "undine_$name")))
done
[ "$sum" = "$events" ] || fail "the accounting of /metrics adds up to $sum, not $events"
[ "$(value undine_lag_messages)" = 0 ] || fail "lag is $(value undine_lag_messages) after the last event"
grep -q "^undine_info{version=\"$("$UNDINE" --version | cut -d' ' -f2)\",kernels=\"" "$tmp/metrics" || fail "undine_info"
documented() { python3 "$ROOT/tests/integration/documented.py" "$@" || fail "$1 and their page differ"; }
documented metrics "$tmp/metrics" "$ROOT/docs/metrics.md"
say "metrics: $(grep -vc '^#' "$tmp/metrics") samples"

# Scores with the user's own sequences, and the same request with what the daemon shows of them left out.
ask() { curl -s -H 'Content-Type: application/json' "$url/v1/$1" "${@:2}"; }
token='Authorization: Bearer 0123456789abcdef-secret'
python3 - "$tmp/events.jsonl" > "$tmp/user" << 'END'
import collections, json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
clicked = collections.Counter(e["user"] for e in events if e["kind"] == "click" and "user" in e)
print((clicked or collections.Counter(e["user"] for e in events if "user" in e)).most_common(1)[0][0])
END
user=$(cat "$tmp/user")
request="\"context\":{\"hour\":12},\"candidates\":[{\"item\":\"i131\",\"category\":\"c31\"},{\"item\":\"i128\",\"category\":\"c28\"}]"
scored() { ask score -d "{\"user\":\"$user\",$request}" > "$tmp/live" && grep -q '"scores"' "$tmp/live"; }
wait_for "a score with the user's own sequences" scored
ask score -d "{\"user\":\"$user\",$request,\"sequences\":{}}" > "$tmp/bare"
ask score -d "{\"user\":\"$user\",$request,\"time\":1}" > "$tmp/before"
ask score -d "{\"user\":\"nobody\",$request}" > "$tmp/nobody"
[ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url/v1/users/$user")" = 401 ] || fail "a user is shown without the token"
[ "$(curl -s -o "$tmp/body" -w '%{http_code}' -H "$token" "$url/v1/users/nobody")" = 404 ] || fail "/v1/users/nobody: $(cat "$tmp/body")"
curl -sf -H "$token" "$url/v1/users/$user" > "$tmp/shown"
python3 - "$tmp" "$user" << 'END'
import json, sys
live, bare, before, nobody, shown = (json.load(open("%s/%s" % (sys.argv[1], n))) for n in ("live", "bare", "before", "nobody", "shown"))
assert live["user"]["known"] and not nobody["user"]["known"] and "user" not in bare, (live, nobody, bare)
assert live["user"]["watermark_ms"] > 0
assert shown["user"] == sys.argv[2] and any(shown["sequences"].values()), shown
# no steps: the same number whichever way it is said; steps: another one
assert before["scores"] == bare["scores"] or before["version"] != bare["version"], (before, bare)
assert live["scores"] != bare["scores"], (live, bare)
END
"$UNDINE" inspect user --state "$tmp/state" --config "$ROOT/configs/demo.yaml" --user "$user" > "$tmp/inspected"
python3 - "$tmp/shown" "$tmp/inspected" << 'END' || fail "/v1/users and inspect user differ"
import json, sys
shown, stored = (json.load(open(f)) for f in sys.argv[1:])
# stored: also what an impression that waits for its label still needs
assert all(steps == stored["sequences"][name][-len(steps):] and len(steps) <= 20 for name, steps in shown["sequences"].items()), (shown, stored)
END

# Which version is published, by hand.
several() { [ "$(ask versions | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["history"]))')" -ge 2 ]; }
wait_for "two versions were published" several
[ "$(ask versions/rollback -o "$tmp/body" -w '%{http_code}' -d '{}')" = 401 ] || fail "a rollback without the token: $(cat "$tmp/body")"
[ "$(ask versions/rollback -o "$tmp/body" -w '%{http_code}' -H "$token" -d '{"version":0}')" = 400 ] || fail "rollback to 0: $(cat "$tmp/body")"
[ "$(ask versions/publish -o "$tmp/body" -w "%{http_code}" -H "$token" -d "{\"version\":999999}")" = 404 ] || fail "publishing nothing: $(cat "$tmp/body")"
[ "$(ask versions/rollback -o "$tmp/back" -w '%{http_code}' -H "$token" -d '{"reason":"a test"}')" = 200 ] || fail "rollback: $(cat "$tmp/back")"
rolled() { ask score -d '{}' | grep -q "\"version\":$(field "$tmp/back" published),"; }
wait_for "the scorer has gone back" rolled
ask versions | python3 -c '
import json, sys
v, back = json.load(sys.stdin), json.load(open(sys.argv[1]))
assert v["published"] == v["in_use"] == back["published"] < back["from"], (v, back)
assert v["hold"]["by"] == "http" and v["hold"]["reason"] == "a test", v["hold"]' "$tmp/back"
[ "$(ask versions/publish -o "$tmp/body" -w '%{http_code}' -H "$token" -d "{\"version\":$(field "$tmp/back" from)}")" = 200 ] || fail "publish: $(cat "$tmp/body")"
say "scored by version $(field "$tmp/live" version) as of $(field "$tmp/live" user.watermark_ms), went back from $(field "$tmp/back" from) and forth"

stop
expect "$tmp/run.json" events -eq "$events"
documented report "$tmp/run.json" "$ROOT/docs/report.md"
say "stopped after $(field "$tmp/run.json" examples) examples"

# What a SIGTERM leaves undone the next start does: the model is that of one uninterrupted run.
"$UNDINE" run --config "$ROOT/configs/demo.yaml" --state "$tmp/state" --until-end -o brokers="$boot" -o http.listen= \
  > "$tmp/run.json" 2>> "$tmp/run.log"
"$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/events.jsonl" > "$tmp/replay.json" 2> "$tmp/replay.log"
same "$tmp/replay.json" "$tmp/run.json" events impressions clicks examples example_digest model_digest
say "ok: $events events, $(field "$tmp/run.json" examples) examples"
