#!/usr/bin/env bash
# exactly_once.sh generated|kuairand: events through a real Kafka, killed with -9 again and again, give the
# same examples and the same model as a replay of the same lines from a file, in another poll size.
. "$(dirname "$0")/lib.sh"

case ${1:?generated or kuairand} in
generated)
  config=$ROOT/configs/demo.yaml kills=4 between=1.6
  "$UNDINE" generate --events 200000 --seed 11 --output "$tmp/events.jsonl" 2> "$tmp/generate.log"
  ;;
kuairand)
  config=$ROOT/configs/kuairand.yaml kills=3 between=4
  data=$(data_dir kuairand_pure) || skip "the KuaiRand log is not on this machine (UNDINE_DATA names its folder)"
  k=$data/kuairand_pure
  "$UNDINE" import kuairand --log "$k/log_standard_20220425_20220504.csv.zst" \
    --history "$k/user_history_until_20220424.tsv.zst" --users "$k/user_features_pure.csv.zst" \
    --videos "$k/video_features_basic_pure.csv.zst" --output "$tmp/events.jsonl" 2> "$tmp/import.log"
  ;;
esac
lines=$(wc -l < "$tmp/events.jsonl")
say "$lines events"
start_broker
say "broker at $broker"
"$UNDINE" produce --brokers "$broker" --input "$tmp/events.jsonl" --create --partitions 4 \
  --topics impression=impressions,click=clicks,behavior=clicks 2> "$tmp/produce.log"
say "produced"

# The reference: one uninterrupted replay from the file, with another poll size.
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" \
  -o ingest.poll_max=77 > "$tmp/replay.json" 2> "$tmp/replay.log"
say "replay: $(field "$tmp/replay.json" examples) examples, digest $(field "$tmp/replay.json" model_digest)"

# The daemon in the background; its process is $pid, so that kill -9 meets no shell.
run() {
  "$UNDINE" run --config "$config" --state "$tmp/state" --until-end -o brokers="$broker" \
    -o snapshot.interval=300ms -o http.listen= > "$tmp/run.json" 2>> "$tmp/run.log" &
  pid=$!
  pids=$pid
}
for i in $(seq 1 "$kills"); do
  run
  sleep "$between"
  kill -9 "$pid" 2>/dev/null || fail "run $i ended before it could be killed: raise the number of events"
  wait "$pid" 2>/dev/null || true
  say "killed after $between s: $(ls "$tmp/state/versions" 2>/dev/null | grep -c '^0' || true) versions"
done
run
wait "$pid" || fail "the last run ended with an error: $(tail -n 3 "$tmp/run.log")"
pids=""
say "run: $(field "$tmp/run.json" examples) examples, digest $(field "$tmp/run.json" model_digest)"

same "$tmp/replay.json" "$tmp/run.json" impressions clicks examples positives example_digest model_digest \
  accounting.applied accounting.behaviors accounting.clicks_matched
expect "$tmp/run.json" events -eq "$lines"
expect "$tmp/run.json" accounting.late -eq 0
expect "$tmp/run.json" accounting.duplicate -eq 0
[ "$(field "$tmp/run.json" accounting.closes)" = true ] || fail "the accounting does not close"
[ "$(field "$tmp/run.json" examples)" = "$(field "$tmp/run.json" impressions)" ] || fail "an impression was not trained exactly once"
say "ok: $kills kills, $lines events, equal examples and equal model"
