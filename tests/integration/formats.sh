#!/usr/bin/env bash
# The reader of docs/formats.md reads what undine writes, full versions and chains, and refuses what is damaged.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/python_env.sh"
python_env
python3 "$ROOT/tests/integration/documents.py" block python "$ROOT/docs/formats.md" > "$tmp/reader.py"
"$BUILD"/tests/make_version "$tmp/versions" '{"linear": true}' own_tables shared > /dev/null
for seed in 1 2 3 4 5 6; do
  "$BUILD"/tests/make_chain "$tmp/chain-$seed" 8 $seed > "$tmp/chain-$seed.txt"
done
PYTHONPATH=$tmp "$python" "$ROOT/tests/integration/formats.py" "$tmp"
