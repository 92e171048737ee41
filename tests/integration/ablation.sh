#!/usr/bin/env bash
# ablation.sh: the ablation's one command, on a generated stream: results, page and plots; nothing is run twice.
. "$(dirname "$0")/lib.sh"

"$ROOT/tests/bench/ablation" --build "$BUILD" --quick --out "$tmp/out" > "$tmp/first.log"
for file in ablation.md ablation.jsonl ablation-passes-generated-auc.svg ablation-grid-generated.svg; do
  [ -s "$tmp/out/$file" ] || fail "$file was not written"
done
lines=$(wc -l < "$tmp/out/ablation.jsonl")
grep -q '| DIN+Dice | MBA' "$tmp/out/ablation.md" || fail "the page has no row of DIN+Dice with MBA"
python3 -c 'import sys, xml.dom.minidom; [xml.dom.minidom.parse(p) for p in sys.argv[1:]]' "$tmp"/out/*.svg

"$ROOT/tests/bench/ablation" --build "$BUILD" --quick --out "$tmp/out" > "$tmp/second.log"
[ "$(wc -l < "$tmp/out/ablation.jsonl")" -eq "$lines" ] || fail "settings were run twice"

# Lost results are made again, the same.
sort "$tmp/out/ablation.jsonl" > "$tmp/all"
sed -i '/"kind":"held"/d' "$tmp/out/ablation.jsonl"
"$ROOT/tests/bench/ablation" --build "$BUILD" --quick --out "$tmp/out" > "$tmp/third.log"
sort "$tmp/out/ablation.jsonl" | cmp -s - "$tmp/all" || fail "the same settings gave other results"
say "ok"
