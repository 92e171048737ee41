#!/usr/bin/env bash
# `undine produce` into `undine mock-broker`, a user's events in one partition; what `undine run` reads from
# there is what `undine replay` reads from the file, with broken lines among it, and over a broker's outage.
. "$(dirname "$0")/lib.sh"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:4 --topic clicks:4 2> "$tmp/broker.log"; }
broker_pid=$BROKER_PID
pids=$broker_pid
read -r -u "${BROKER[0]}" word boot
[ "$word" = BOOT ] || fail "the mock broker says $word"
tell() {
  echo "$*" >&"${BROKER[1]}"
  read -r -u "${BROKER[0]}" answer
  [ "$answer" = ok ] || fail "mock broker: $*: $answer"
}

"$UNDINE" generate --events 20000 --seed 3 --output "$tmp/events.jsonl" 2> "$tmp/generate.log" > /dev/null
printf '%s\n' 'no JSON' '{"kind":"view","user":"u1","time":1}' '' >> "$tmp/events.jsonl"
"$UNDINE" produce --brokers "$boot" --input "$tmp/events.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
expect "$tmp/produce.json" lines -eq 20003
expect "$tmp/produce.json" unreadable -eq 3

code=0
"$UNDINE" produce --brokers "$boot" --input "$tmp/events.jsonl" --topics clicks=x 2> "$tmp/usage.log" || code=$?
[ "$code" != 0 ] || fail "a topic of no kind is taken"
grep -q 'KIND=TOPIC' "$tmp/usage.log" || fail "the error does not say what --topics takes"

config=$ROOT/configs/demo.yaml
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" > "$tmp/replay.json" 2> "$tmp/replay.log"
tell rtt 1 20
tell err 1 6
tell down 1
"$UNDINE" run --config "$config" --state "$tmp/state" --until-end -o brokers="$boot" -o http.listen= \
  > "$tmp/run.json" 2> "$tmp/run.log" &
run=$!
pids="$pids $run"
sleep 1.5
tell up 1
wait "$run" || fail "run ended with $?"
same "$tmp/replay.json" "$tmp/run.json" events impressions clicks examples example_digest model_digest
expect "$tmp/run.json" events -eq 20003
exec {BROKER[1]}>&- # its commands end, and so does the mock broker
wait "$broker_pid" || fail "the mock broker ended with $?"
pids=""
say "ok"
