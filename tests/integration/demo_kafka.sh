#!/usr/bin/env bash
# demo_kafka.sh: the demo on a user's own broker: topics of its own, made and deleted.
. "$(dirname "$0")/lib.sh"

start_broker
"$UNDINE" demo --seconds 10 --kafka "$broker" > "$tmp/demo.log" 2>&1 &
pid=$!
pids=$pid
wait "$pid" || { cat "$tmp/demo.log"; fail "the demo ended with an error"; }
pids=""
grep -q "every event accounted for: yes" "$tmp/demo.log" || fail "the demo does not account for every event"
grep -qE "^[0-9]+ events, [1-9][0-9]* examples learned" "$tmp/demo.log" || fail "the demo learned nothing"

sed "s/name: impressions,/name: undine-demo-$pid-impressions,/" "$ROOT/configs/demo.yaml" > "$tmp/gone.yaml"
code=0
"$UNDINE" run --config "$tmp/gone.yaml" --state "$tmp/state" --until-end -o brokers="$broker" -o http.listen= \
  > "$tmp/run.json" 2> "$tmp/run.log" || code=$?
[ "$code" = 1 ] && grep -q "topic \`undine-demo-$pid-impressions\` does not exist" "$tmp/run.log" ||
  { cat "$tmp/run.log"; fail "the demo's topics are still there (exit code $code)"; }
say "ok"
