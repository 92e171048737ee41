#!/usr/bin/env bash
# ablation_run.sh: a setting of the ablation learns what a replay of the same files learns, bit for bit.
. "$(dirname "$0")/lib.sh"
run=$BUILD/tests/ablation_run
config=$ROOT/configs/demo.yaml

"$UNDINE" generate --events 12000 --seed 5 --output "$tmp/events.jsonl" > "$tmp/bayes.json"
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" -o model.seed=3 > "$tmp/a.json" 2> "$tmp/a.log"
"$UNDINE" replay --config "$config" --input "$tmp/events.jsonl" -o model.seed=3 -o learner.batch=50 \
  -o model.kind=base > "$tmp/b.json" 2> "$tmp/b.log"

# The wrong setting ends nothing but itself.
printf '%s\n' 'a 3' '# a comment' 'bad 3 join.window=7s' 'b 3 learner.batch=50 model.kind=base' |
  "$run" --config "$config" --input "$tmp/events.jsonl" --passes 2 > "$tmp/lines.jsonl"
printf '%s\n' 'held 3' |
  "$run" --config "$config" --input "$tmp/events.jsonl" --holdout 0.25 --points 2 > "$tmp/held.jsonl"

python3 - "$tmp" <<'EOF' || fail "the runner and the replay differ"
import json, sys

tmp = sys.argv[1]
lines = [json.loads(line) for line in open(tmp + "/lines.jsonl")]
for name in "ab":
    replay = json.load(open(f"{tmp}/{name}.json"))
    first, second = [x for x in lines if x.get("name") == name]
    for key in "model_digest", "example_digest":
        assert replay[key] == first[key], (name, key, replay[key], first[key])
        assert first[key] != second[key], (name, key)
    assert abs(replay["auc"] - first["all"]["auc"]) < 1e-4
    assert abs(replay["gauc"] - first["all"]["gauc"]) < 1e-6
    assert abs(replay["logloss"] - first["all"]["logloss"]) < 1e-6
    assert replay["examples"] == first["examples"] == second["examples"] == first["all"]["n"]
    assert first["first"]["n"] + first["second"]["n"] == first["all"]["n"]
    assert {"done": name, "seed": 3} in lines
assert [x["failed"] for x in lines if "failed" in x] == ["bad"]

held = [json.loads(line) for line in open(tmp + "/held.jsonl")][:-1]
n = replay["examples"]
assert [x["held"]["n"] for x in held] == [n - (n - n // 4)] * 2, held
assert held[0]["examples"] < held[1]["examples"] == n - n // 4, held
assert held[1]["held"]["auc"] > 0.5, held
EOF
# What int16 costs, said of the same examples: nothing to speak of, and not nothing.
"$ROOT/tests/bench/precision_cost" --build "$BUILD" --streams generated --units 36 > "$tmp/cost.jsonl"
python3 - "$tmp/cost.jsonl" <<'EOF' || fail "precision_cost: $(cat "$tmp/cost.jsonl")"
import json, sys

text = open(sys.argv[1]).read()
if "avx512_vnni" in open("/proc/cpuinfo").read():
    (x,) = map(json.loads, text.splitlines())
    assert x["stream"] == "generated" and x["scored"] > 1000 and abs(x["auc_cost"]) < 1e-3, x
    assert 0 < x["probability_apart_max"] < 1e-2 and abs(x["logloss_cost"]) < 1e-4, x
else:
    assert text.startswith("SKIPPED"), text
EOF
say "ok"
