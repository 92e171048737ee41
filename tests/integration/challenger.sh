#!/usr/bin/env bash
# The challenger: another configuration on the examples of a state, beside its learner on the same window; the same one says
# the same.
. "$(dirname "$0")/lib.sh"
config=$ROOT/configs/demo.yaml
"$UNDINE" generate --events 20000 --seed 8 --output "$tmp/events.jsonl" > "$tmp/generate.json" 2> "$tmp/generate.log"
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" --state "$tmp/state" -o snapshot.interval=1h \
  > "$tmp/replay.json" 2> "$tmp/replay.log"
challenge() { "$UNDINE" replay --from-example-log --config "$config" --state "$tmp/state" "$@"; }

# The state's own configuration, from its first example on, predicts what its learner has predicted, to the bit.
challenge > "$tmp/same.json"
expect "$tmp/same.json" window_examples -ge 10000
expect "$tmp/same.json" logloss_difference.mean -eq 0
expect "$tmp/same.json" logloss_difference.standard_error -eq 0
for name in auc gauc logloss normalized_entropy calibration ece examples; do
  [ "$(field "$tmp/same.json" challenger.$name)" = "$(field "$tmp/same.json" learner.$name)" ] || fail "$name of equals differ"
done
for name in gauc logloss calibration; do # and that is what the learner's own report said
  python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(abs(a - b) > 1e-6 * abs(b))' \
    "$(field "$tmp/same.json" learner.$name)" "$(field "$tmp/replay.json" "${name/#/}")" || fail "learner.$name is not the report's"
done

challenge -o learner.optimizer.rate=0.00001 -o learner.optimizer.dense_rate=0.00001 -o model.mlp.hidden=[8] -o learner.batch=96 \
  > "$tmp/slow.json"
[ "$(field "$tmp/slow.json" learner)" = "$(field "$tmp/same.json" learner)" ] || fail "the learner's side depends on the challenger"
python3 - "$tmp/slow.json" << 'PY'
import json, sys
r = json.load(open(sys.argv[1]))
d = r["logloss_difference"]
assert r["challenger"]["logloss"] > r["learner"]["logloss"] and r["challenger"]["auc"] < r["learner"]["auc"], r
assert abs(d["mean"] - (r["challenger"]["logloss"] - r["learner"]["logloss"])) < 1e-6, r
assert d["mean"] > 3 * d["standard_error"] > 0, r
PY
say "a slow challenger: logloss $(field "$tmp/slow.json" challenger.logloss), the learner's $(field "$tmp/slow.json" learner.logloss)"

# What does not fit is refused with a reason, and nothing is changed by any of it.
sed 's/^  - {name: hour, of: context}$//' "$config" > "$tmp/other.yaml"
code=0
"$UNDINE" replay --from-example-log --config "$tmp/other.yaml" --state "$tmp/state" > /dev/null 2> "$tmp/other.log" || code=$?
[ $code = 4 ] || fail "other fields end with $code: $(cat "$tmp/other.log")"
for words in "--input $tmp/events.jsonl --state $tmp/state" "--from 0 --state $tmp/state" ""; do
  code=0
  # shellcheck disable=SC2086
  "$UNDINE" replay --from-example-log --config "$config" $words > /dev/null 2> "$tmp/usage.log" || code=$?
  [ $code = 2 ] || fail "replay --from-example-log $words ends with $code"
done
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" --state "$tmp/state" > "$tmp/again.json" 2> "$tmp/again.log"
same "$tmp/replay.json" "$tmp/again.json" examples example_digest model_digest
say "ok"
