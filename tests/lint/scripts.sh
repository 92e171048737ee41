#!/usr/bin/env bash
# Every shell script of the tree parses, may be run, and says what it does in its first comment.
set -uo pipefail
cd "${ROOT:-$(dirname "$0")/../..}"
bad=0
complain() {
    echo "$*"
    bad=$((bad + 1))
}
n=0
while IFS= read -r file; do
    case $file in
    *.sh) ;;
    *) head -c 64 "$file" | head -1 | grep -qaE '^#!.*\b(ba)?sh\b' || continue ;;
    esac
    n=$((n + 1))
    bash -n "$file" || complain "$file does not parse"
    if head -1 "$file" | grep -q '^#!'; then
        [ -x "$file" ] || complain "$file starts with #! but is not executable"
    fi
    head -3 "$file" | grep -qE '^# [A-Za-z]' || complain "$file does not say what it is"
done < <(find . -path ./build -prune -o -path ./.git -prune -o -type f -print)
[ "$n" -ge 5 ] || complain "only $n scripts found: the search is broken"
echo "$n scripts, $bad complaints"
[ "$bad" = 0 ]
