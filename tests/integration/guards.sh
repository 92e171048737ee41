#!/usr/bin/env bash
# Guards: a number out of its band stops learning with exit code 5 and a reason, ingest of a live stream goes on, the batch
# is kept for `undine inspect dump`, and with a wider band the state goes on to the model of an untroubled run.
. "$(dirname "$0")/lib.sh"
command -v curl > /dev/null || skip "curl is not on this machine"
config=$ROOT/configs/demo.yaml
narrow=(-o learner.guard.window=2000 -o learner.guard.label_rate_max=0.01)
wide=(-o learner.guard.window=2000)

# stops STATE COMMAND...: it ends with 5 and says which band.
stops() {
  code=0
  "${@:2}" > "$tmp/guarded.json" 2> "$tmp/guarded.log" || code=$?
  [ $code = 5 ] || fail "ended with $code, expected 5"
  grep -q 'label_rate_min..max' "$tmp/guarded.log" || fail "the band is not named"
  "$UNDINE" inspect dump --state "$1" > "$tmp/dump.jsonl"
  python3 - "$tmp/dump.jsonl" "$(field "$tmp/guarded.json" examples)" << 'PY'
import json, sys
head, *examples = [json.loads(line) for line in open(sys.argv[1])]
assert head["from"] == int(sys.argv[2]), (head, sys.argv[2])
assert len(examples) == head["to"] - head["from"] + 1
assert "label rate" in head["why"]
assert all(e["label"] in (0, 1) and e["logit"] is not None for e in examples)
assert any(s for e in examples for s in e["sequences"].values())
assert all(len(e["fields"]) > 2 for e in examples)
PY
}

"$UNDINE" generate --events 20000 --seed 9 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
events=$(field "$tmp/generate.json" events)
"$UNDINE" replay --config "$config" "${wide[@]}" --input "$tmp/events.jsonl" > "$tmp/replay.json" 2> "$tmp/replay.log"

mkdir "$tmp/file"
stops "$tmp/file" "$UNDINE" replay --config "$config" --state "$tmp/file" "${narrow[@]}" --input "$tmp/events.jsonl"
"$UNDINE" replay --config "$config" --state "$tmp/file" "${wide[@]}" --input "$tmp/events.jsonl" > "$tmp/again.json" 2> "$tmp/again.log"
same "$tmp/replay.json" "$tmp/again.json" examples example_digest model_digest
"$UNDINE" inspect dump --state "$tmp/none" > "$tmp/none.out" 2> "$tmp/none.err" && fail "a dump where there is none"
grep -q 'no batch was refused' "$tmp/none.err" || fail "the error of a missing dump"
say "replay: stopped after $(field "$tmp/guarded.json" examples) examples, then went on"

coproc BROKER { exec "$UNDINE" mock-broker --topic impressions:2 --topic clicks:2 2> "$tmp/broker.log"; }
pids=$BROKER_PID
read -r -u "${BROKER[0]}" _ boot
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$UNDINE" produce --brokers "$boot" --input "$tmp/events.jsonl" > "$tmp/produce.json" 2> "$tmp/produce.log"
live() { "$UNDINE" run --config "$config" --state "$tmp/live" -o brokers="$boot" -o http.listen="127.0.0.1:$port" "${narrow[@]}"; }
(stops "$tmp/live" live) &
run=$!
metric() { curl -sf "http://127.0.0.1:$port/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
for _ in $(seq 600); do
  [ "$(metric undine_guarded):$(metric undine_events_total)" = "1:$events" ] && break
  kill -0 $run 2> /dev/null || fail "the daemon ended by itself"
  sleep 0.1
done
[ "$(metric undine_events_total)" = "$events" ] || fail "ingest did not go on behind a stopped learner"
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz")" = 503 ] || fail "/readyz is green behind a guard"
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/healthz")" = 200 ] || fail "/healthz asks for a restart that would not help"
pkill -TERM -f "undine run --config $config --state $tmp/live"
wait $run || fail "the live run behind a guard"
"$UNDINE" run --config "$config" --state "$tmp/live" --until-end -o brokers="$boot" -o http.listen= "${wide[@]}" > "$tmp/again.json" 2> "$tmp/again.log"
same "$tmp/replay.json" "$tmp/again.json" examples example_digest model_digest
say "ok: ingest read all $events events behind the guard; with a wider band the model is that of the replay"
