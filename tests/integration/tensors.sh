#!/usr/bin/env bash
# tensors.sh: docs/formats.md describes every tensor of a version, whatever the model, the optimizer and the regularizer.
. "$(dirname "$0")/lib.sh"

"$UNDINE" generate --events 6000 --seed 3 --output "$tmp/events.jsonl" > "$tmp/bayes.json"
versions=()
# learn NAME OPTION...: adds its version.
learn() {
  name=$1
  shift
  options=()
  for o in "$@"; do options+=(-o "$o"); done
  "$UNDINE" replay --config "${config:-$ROOT/configs/demo.yaml}" --input "$tmp/events.jsonl" --state "$tmp/$name" "${options[@]}" \
    > "$tmp/$name.json" 2> "$tmp/$name.log"
  versions+=("$tmp/$name/versions/000000000001")
}
learn demo
learn l2 learner.regularizer.kind=l2 learner.optimizer.kind=adagrad learner.frozen.block=1000 learner.frozen.sample=1
learn window learner.regularizer.counter=window learner.regularizer.window=1000 learner.optimizer.kind=sgd learner.admission=2 \
  model.linear=true model.mlp.activation=dice model.unit.activation=dice
learn fixed learner.regularizer.counter=fixed "learner.regularizer.counts=$tmp/demo/versions/000000000001" \
  learner.optimizer.kind=ftrl learner.optimizer.rate=0.1 learner.optimizer.dense_rate=0.1
sed 's/^    length: 20/    length: 20\n    shared: false/' "$ROOT/configs/demo.yaml" > "$tmp/own.yaml"
config=$tmp/own.yaml learn own learner.regularizer.kind=none
grep -q 'clicks.item' "$tmp/own/versions/000000000001/manifest.json" || fail "the sequence has no tables of its own"
for open in --keep-open ""; do # pairs of scores come after a first version
  "$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/events.jsonl" --state "$tmp/gate" -o gate.mode=warn \
    -o learner.frozen.sample=1 $open > "$tmp/gate.json" 2> "$tmp/gate.log"
done
versions+=("$tmp/gate/versions/000000000002")
python3 "$ROOT/tests/integration/documented.py" tensors "$ROOT/docs/formats.md" "${versions[@]}" ||
  fail "docs/formats.md and the tensors differ"

# It finds what is missing and what is wrong.
grep -v '^| `trainer.retention`' "$ROOT/docs/formats.md" | sed 's/^| `trainer.counters` | U64 (7)/| `trainer.counters` | U64 (6)/' > "$tmp/formats.md"
if python3 "$ROOT/tests/integration/documented.py" tensors "$tmp/formats.md" "${versions[0]}" > "$tmp/differences"; then
  fail "a page without trainer.retention passes"
fi
grep -q '`trainer.retention` U64 \[3\] has 0 rows' "$tmp/differences" || fail "trainer.retention is not missed"
grep -q '`trainer.counters` U64 \[7\] is documented as U64 (6)' "$tmp/differences" || fail "the wrong shape is not seen"
say "ok"
