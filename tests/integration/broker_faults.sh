#!/usr/bin/env bash
# Brokers that fail in every way the mock cluster knows, under one stream: errors in stacks, slow answers, connections cut
# while a fetch is out, a broker that is away, at a restart too, partitions without a leader and with another one. The
# daemon never ends for it, says so in /readyz, and has learned in the end what a replay of the file learns.
. "$(dirname "$0")/lib.sh"
command -v curl > /dev/null || skip "curl is not on this machine"
config=$ROOT/configs/demo.yaml
PIECES=8

coproc BROKER { exec "$UNDINE" mock-broker --brokers 2 --topic impressions:3 --topic clicks:3 2> "$tmp/broker.log"; }
broker_pid=$BROKER_PID
pids=$broker_pid
read -r -u "${BROKER[0]}" _ boot
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port

# tell COMMAND: to the mock cluster, which has done it when it answers
tell() {
  echo "$*" >&"${BROKER[1]}"
  read -r -u "${BROKER[0]}" answer
  [ "$answer" = ok ] || fail "mock-broker: $*: $answer"
}
# A partition that is quiet holds the watermark: nothing may be late, however slow a fault makes one of them.
start() {
  "$UNDINE" run --config "$config" --state "$tmp/state" -o brokers="$boot" -o http.listen="127.0.0.1:$port" \
    -o order.idle_timeout=10h -o snapshot.interval=500ms "$@" > "$tmp/run.json" 2>> "$tmp/run.log" &
  run=$!
  pids="$broker_pid $run"
}
wait_for() {
  what=$1
  shift
  for _ in $(seq 1200); do
    if "$@"; then return 0; fi
    kill -0 "$run" 2> /dev/null || fail "the daemon ended before: $what"
    sleep 0.1
  done
  fail "two minutes were not enough: $what"
}
status() { [ "$(curl -s -o "$tmp/body" -w '%{http_code}' "$url$1")" = "$2" ]; }
metric() { curl -sf "$url/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
reached() { [ "$(metric "$1")" = "$2" ]; }
red() {
  wait_for "/readyz is red: $1" status /readyz 503
  status /healthz 200 || fail "$1: /healthz is not green"
  [ -n "$(metric undine_lag_messages)" ] || fail "$1: no lag metric"
}
green() { wait_for "/readyz is green: $1" status /readyz 200; }

"$UNDINE" generate --events 16000 --seed 31 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
events=$(field "$tmp/generate.json" events)
split -n l/$PIECES -d -a 1 "$tmp/events.jsonl" "$tmp/piece."
sent=0
send() { "$UNDINE" produce --brokers "$boot" --input "$tmp/piece.$1" > "$tmp/produce.$1.json" 2> "$tmp/produce.log"; }
all_read() {
  sent=$((sent + $(field "$tmp/produce.$1.json" lines)))
  wait_for "piece $1 was read" reached undine_events_total "$sent"
}

start
green start
for code in 6 -195 5 3 -195 7 2 9 -195 -195 6; do tell err 1 "$code"; done
send 0
all_read 0
say "ok: a stack of errors, disconnects among them, in front of fetches"

tell rtt 1 400
tell rtt 2 150
send 1
for _ in 1 2 3 4; do tell err 1 -195; done
all_read 1
say "ok: slow answers, and connections cut while fetches are out"
tell rtt 1 0
tell rtt 2 0

tell down 1
tell down 2
red "no broker"
send 2 &
producer=$!
pids="$broker_pid $run $producer"
status /nothing 404 || fail "an unknown path is not 404"
tell up 1
tell up 2
wait "$producer" || fail "produce: $(tail -n 3 "$tmp/produce.log")"
all_read 2
green "the brokers are back"
say "ok: all brokers away"

tell leader clicks 1 -1
tell leader impressions 0 -1
red "partitions without a leader"
send 3 &
producer=$!
pids="$broker_pid $run $producer"
tell leader clicks 1 2
tell leader impressions 0 1
wait "$producer" || fail "produce: $(tail -n 3 "$tmp/produce.log")"
all_read 3
green "all partitions have leaders"
send 4
for p in 0 1 2; do
  tell leader clicks $p $((p % 2 + 1))
  tell leader impressions $p $(((p + 1) % 2 + 1))
done
all_read 4
say "ok: partitions without a leader, and with another one"

# One of two brokers goes for good, in the middle of a crash: the start waits for it.
tell down 2
red "one broker of two"
kill -9 "$run"
wait "$run" 2> /dev/null || true
send 5 &
producer=$!
start
wait_for "/healthz answers" status /healthz 200
status /readyz 503 || fail "/readyz is not red while a broker is missing at the start"
for code in 6 -195 5; do tell err 2 "$code"; done
tell up 2
wait "$producer" || fail "produce: $(tail -n 3 "$tmp/produce.log")"
all_read 5
green "restarted"
say "ok: a start while a broker is away"

# Cut again and again, while it reads.
send 6 &
producer=$!
for i in 1 2 3 4 5 6; do
  tell down $((i % 2 + 1))
  sleep 0.2
  tell up $((i % 2 + 1))
  tell err 1 -195
done
wait "$producer" || fail "produce: $(tail -n 3 "$tmp/produce.log")"
all_read 6
send 7
all_read 7
green "the last piece"
[ "$sent" = "$events" ] || fail "$sent events were sent, not $events"
for name in undine_events_late_total undine_events_duplicate_total undine_events_malformed_total; do
  [ "$(metric $name)" = 0 ] || fail "$name is $(metric $name)"
done
[ "$(metric undine_lag_messages)" = 0 ] || fail "lag is $(metric undine_lag_messages) after the last event"
[ "$(metric undine_source_reconnects_total)" -ge 1 ] || fail "no reconnect was counted"
kill -TERM "$run"
wait "$run" || fail "after SIGTERM it ended with $?"
pids=$broker_pid

"$UNDINE" run --config "$config" --state "$tmp/state" --until-end -o brokers="$boot" -o http.listen= \
  > "$tmp/run.json" 2>> "$tmp/run.log"
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" > "$tmp/replay.json" 2> "$tmp/replay.log"
same "$tmp/replay.json" "$tmp/run.json" events impressions clicks examples example_digest model_digest accounting
say "ok: $events events, $(field "$tmp/run.json" examples) examples, as in a replay of the file"
