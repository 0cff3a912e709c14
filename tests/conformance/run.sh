#!/bin/bash
# run.sh BUILD_DIR [SEED]: the schemas against Kafka's definitions, and the codec against Kafka's own classes.
# Needs java, mvn (once, for the jars), python3, and a configured build folder. Ends with "N passed, N failed".
set -euo pipefail
build=${1:?usage: run.sh BUILD_DIR [SEED]}
seed=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
old=$("$here/../peers/kafka-home" 3.9.1)
new=$("$here/../peers/kafka-home" 4.3.1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --build "$build" --target conformance_replay >"$work/build" || { cat "$work/build"; exit 1; }

status=0
echo "schemas against the definitions in the jars of 3.9.1 and 4.3.1:"
python3 -B "$here/conformance.py" "$old" "$new" | tee "$work/conformance" || status=1

echo "codec against the classes in the jars of 3.9.1 and 4.3.1:"
# The tags below 10 that 3.9.1 does not know, 4.3.1 may.
java -XX:+UseSerialGC -cp "$old/*" "$here/Differential.java" "$old" "$here/excluded.txt" "$seed" 12 10 "$work/old" 2>"$work/log" ||
  { cat "$work/log"; exit 1; }
java -XX:+UseSerialGC -cp "$new/*" "$here/Differential.java" "$new" "$here/excluded.txt" "$seed" 12 0 "$work/new" 2>"$work/log" ||
  { cat "$work/log"; exit 1; }
"$build/tests/conformance/conformance_replay" "$work/old" "$work/new" | tee "$work/replay" || status=1

awk '/^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
     END { printf "%d passed, %d failed\n", passed, failed }' "$work/conformance" "$work/replay"
exit $status
