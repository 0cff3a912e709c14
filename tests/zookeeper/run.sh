#!/bin/bash
# The whole suite, two files at a time, each worker with servers of its own. More arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec build/venv/bin/pytest -q -n 2 --dist loadfile --durations=5 tests/zookeeper "$@"
