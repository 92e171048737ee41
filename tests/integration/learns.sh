#!/usr/bin/env bash
# learns.sh kuairand|ranking|amazon|generated: one pass over a log reaches what its configuration promises.
. "$(dirname "$0")/lib.sh"

replay() { # replay REPORT CONFIG INPUT OPTION...
  report=$tmp/$1.json
  config=$ROOT/configs/$2
  input=$3
  shift 3
  "$UNDINE" replay --config "$config" --input "$input" "$@" > "$report" 2> "$report.log"
  say "$(basename "$report" .json): auc $(field "$report" auc) gauc $(field "$report" gauc)" \
    "logloss $(field "$report" logloss), popularity $(field "$report" popularity_auc)"
}

# above A B NAME MARGIN: the member of report A exceeds that of report B by so much.
above() {
  python3 -c 'import sys; a, b, m = map(float, sys.argv[1:]); sys.exit(0 if a >= b + m else 1)' \
    "$(field "$tmp/$1.json" "$3")" "$(field "$tmp/$2.json" "$3")" "$4" ||
    fail "$3 of $1 is $(field "$tmp/$1.json" "$3"), expected $4 above $(field "$tmp/$2.json" "$3") of $2"
}

import_kuairand() { # import_kuairand [--wide]
  data=$(data_dir kuairand_pure) || skip "the KuaiRand log is not on this machine (UNDINE_DATA names its folder)"
  k=$data/kuairand_pure
  "$UNDINE" import kuairand --log "$k/log_standard_20220425_20220504.csv.zst" \
    --history "$k/user_history_until_20220424.tsv.zst" --users "$k/user_features_pure.csv.zst" \
    --videos "$k/video_features_basic_pure.csv.zst" --output "$tmp/events.jsonl" "$@" > "$tmp/import.json"
}

case ${1:?kuairand, ranking, amazon or generated} in
kuairand)
  import_kuairand
  replay din kuairand.yaml "$tmp/events.jsonl"
  expect "$report" impressions -eq 171671
  expect "$report" clicks -eq 76099
  expect "$report" positives -eq 76099
  expect "$report" examples -eq 171671
  expect "$report" click_coverage -eq 1
  for none in late duplicate malformed filtered dropped sampled_out pending waiting; do
    expect "$report" accounting.$none -eq 0
  done
  expect "$report" auc -ge 0.741
  expect "$report" rss_bytes -le 500000000
  ;;
ranking)
  import_kuairand --wide
  replay din kuairand-ranking.yaml "$tmp/events.jsonl"
  replay base kuairand-ranking.yaml "$tmp/events.jsonl" -o model.kind=base
  expect "$tmp/din.json" gauc -ge 0.639
  above din base gauc 0.002
  replay wide kuairand-wide.yaml "$tmp/events.jsonl"
  expect "$report" auc -ge 0.749
  ;;
amazon)
  data=$(data_dir amazon_beauty) || skip "the Amazon Beauty reviews are not on this machine (UNDINE_DATA names their folder)"
  "$UNDINE" import amazon --input "$data/amazon_beauty/interactions.tsv.zst" --output "$tmp/events.jsonl" > "$tmp/import.json"
  replay din amazon.yaml "$tmp/events.jsonl"
  replay base amazon.yaml "$tmp/events.jsonl" -o model.kind=base
  expect "$tmp/din.json" impressions -eq 352278
  expect "$tmp/din.json" positives -eq 176139
  expect "$tmp/din.json" accounting.late -eq 0
  expect "$tmp/din.json" auc -ge 0.809
  above din base auc 0.008
  ;;
generated)
  "$UNDINE" generate --events 600000 --seed 3 --output "$tmp/events.jsonl" > "$tmp/bayes.json"
  replay din demo.yaml "$tmp/events.jsonl"
  replay base demo.yaml "$tmp/events.jsonl" -o model.kind=base
  above din base gauc 0.05
  python3 -c 'import sys; sys.exit(0 if float(sys.argv[1]) >= float(sys.argv[2]) - 0.02 else 1)' \
    "$(field "$tmp/din.json" auc)" "$(field "$tmp/bayes.json" bayes.auc)" ||
    fail "auc is $(field "$tmp/din.json" auc), the Bayes bound $(field "$tmp/bayes.json" bayes.auc)"
  ;;
esac
say "ok"
