#!/usr/bin/env bash
# late_run.sh: on a stream whose clicks mostly come behind a short window, that window's scores are far too low, and
# corrections and fake negative weighting mend it; all are judged on the same impressions.
. "$(dirname "$0")/lib.sh"

"$UNDINE" generate --events 40000 --seed 3 --click-delay 20 --output "$tmp/events.jsonl" > "$tmp/bayes.json"
printf '%s\n' 'short join.window=5s' 'correct join.window=5s join.late_click=correct' 'fnw join.label=fnw' |
  "$BUILD/tests/late_run" --config "$ROOT/configs/demo.yaml" --input "$tmp/events.jsonl" --truth-window 600000 \
    -o join.memory=10m > "$tmp/lines.jsonl" 2> "$tmp/run.log"
python3 - "$tmp" <<'EOF' || fail "a policy does not do what it is for: $(cat "$tmp/lines.jsonl")"
import json, sys

lines = {x["policy"]: x for x in map(json.loads, open(sys.argv[1] + "/lines.jsonl"))}
short, correct, fnw = lines["short"], lines["correct"], lines["fnw"]
assert short["scored"] == correct["scored"] == fnw["scored"] > 5000
assert short["clicks_learned"] < 0.4 < 0.9 < correct["clicks_learned"]
assert short["calibration"] < 0.5 and 0.75 < correct["calibration"] < 1.25 and 0.75 < fnw["calibration"] < 1.25, lines
assert fnw["impression_delay_s"] == 0
assert max(correct["logloss"], fnw["logloss"]) < short["logloss"]
EOF
say "ok"
