#!/usr/bin/env bash
# exactly_once.sh generated|kuairand: events through a real Kafka, killed with -9 again and again, give the
# same examples and the same model as a replay of the same lines from a file, in another poll size.
. "$(dirname "$0")/lib.sh"

case ${1:?generated or kuairand} in
generated)
  config=$ROOT/configs/demo.yaml kill_after='0.9 1.4 1.1 1.7 1.3'
  "$UNDINE" generate --events 400000 --seed 11 --output "$tmp/events.jsonl" 2> "$tmp/generate.log"
  ;;
kuairand)
  config=$ROOT/configs/kuairand.yaml kill_after='2.5 2 1.5 2.5'
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
# However fast the machine is, the first two runs are killed in the middle; later ones where they still run.
kills=0
for seconds in $kill_after; do
  run
  sleep "$seconds"
  if ! kill -9 "$pid" 2> /dev/null; then
    [ $kills -ge 2 ] || fail "run $((kills + 1)) ended within $seconds s: raise the number of events"
    break
  fi
  kills=$((kills + 1))
  wait "$pid" 2> /dev/null || true
  say "killed after $seconds s: $(ls "$tmp/state/versions" 2> /dev/null | grep -c '^0' || true) versions"
done
wait "$pid" 2> /dev/null || true
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
