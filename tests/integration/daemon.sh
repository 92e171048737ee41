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
    > "$tmp/run.json" 2>> "$tmp/run.log" &
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
