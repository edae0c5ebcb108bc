#!/usr/bin/env bash
# One step of action.yml: runs `charter check` and tells the run what came of it. Everything a workflow says comes in
# through the environment, so nothing of it is ever read as a command.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
charter="$(command -v "${CHECK_COMMAND:-$RUNNER_TEMP/charter/bin/charter}")"
python="$(dirname "$charter")/python"
[ -x "$python" ] || python=python3
results="$RUNNER_TEMP/charter-results.json"
arguments=(--junit "$CHECK_JUNIT" --summary "$GITHUB_STEP_SUMMARY" --min-coverage "$CHECK_MIN_COVERAGE" --json)
[ -z "$CHECK_BASE" ] || arguments+=(--base "$CHECK_BASE")
[ "$CHECK_PROVEN" != true ] || arguments+=(--proven)
[ "$CHECK_FAIL_ON_WIDENING" != true ] || arguments+=(--fail-on-widening)

code=0
"$charter" -C "$CHECK_ESTATE" check "${arguments[@]}" > "$results" || code=$?
"$python" -I "$here/report.py" "$results" "$CHECK_ESTATE" >> "$GITHUB_OUTPUT"
exit "$code"
