#!/usr/bin/env bash
# tuned.sh: the one command of docs/tuned.md, on a generated stream: every seed once, and again where the configuration changed.
. "$(dirname "$0")/lib.sh"

tuned() { "$ROOT/tests/bench/tuned" --build "$BUILD" --quick --out "$tmp/out" "$@"; }
tuned > "$tmp/first.log"
[ "$(wc -l < "$tmp/first.log")" -eq 2 ] || fail "not every seed was run: $(cat "$tmp/first.log")"
for part in 'first half' 'second half' 'whole stream'; do
  grep -qE "^\| .configs/demo.yaml. \| $part \| 0\.[0-9]{4} ± 0\.[0-9]{4} \| .* \| 2 \|$" "$tmp/out/tuned.md" || fail "the page has no row of the $part"
done
cp "$tmp/out/tuned.jsonl" "$tmp/all"
tuned > "$tmp/second.log"
[ ! -s "$tmp/second.log" ] || fail "seeds were run twice"

# A lost run is made again, the same; one of another configuration is no run of this one.
sed -i 1d "$tmp/out/tuned.jsonl"
tuned > "$tmp/third.log"
cmp "$tmp/out/tuned.jsonl" "$tmp/all" || fail "the same seed gave other results"
tuned -o learner.batch=50 > "$tmp/fourth.log"
[ "$(wc -l < "$tmp/fourth.log")" -eq 2 ] || fail "other settings were taken for these"

# A seed is what it says.
"$UNDINE" generate --events 12000 --seed 7 --output "$tmp/events.jsonl" > "$tmp/bayes.json"
"$UNDINE" replay --config "$ROOT/configs/demo.yaml" --input "$tmp/events.jsonl" -o model.seed=2 > "$tmp/replay.json" 2> "$tmp/replay.log"
grep '"seed":2' "$tmp/all" | grep -q "\"model_digest\":\"$(field "$tmp/replay.json" model_digest)\"" || fail "a replay with the seed learns another model"
say "ok"
