# Sourced by scripts/test and scripts/check: named steps, and what they share.

python=(.venv/bin/python)
typed=(
    Python Benchmarks Tests/EndToEnd examples/hello-armada/bundle.py examples/monitoring-backend examples/database/visits.py
    examples/fingerprint/profile.py examples/proxy/prices.py
)
logs=.build/step-logs
# All at once, four hundred tests would keep each other from the few threads that they share, and those with a deadline would miss it.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4
failed=()
mkdir -p "$logs"

# step NAME COMMAND…: runs it, keeps its output, notes whether it failed.
step() {
    local name=$1 begun=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@" 2>&1 | tee "$logs/${name// /-}.log"; then
        printf '==> %s: passed (%d s)\n' "$name" $((SECONDS - begun))
    else
        printf '==> %s: FAILED (%d s)\n' "$name" $((SECONDS - begun))
        failed+=("$name")
        return 1
    fi
}

lint_steps() {
    step "swift format" swift format lint --strict --recursive --parallel Package.swift Sources Tests
    step "ruff check" .venv/bin/ruff check .
    step "ruff format" .venv/bin/ruff format --check .
    step "mypy" .venv/bin/mypy "${typed[@]}"
}

# beside SERVERS… -- COMMAND…: runs a command with servers of its own.
beside() { PYTHONPATH=Python "${python[@]}" -m armada_testing.servers "$@"; }

# The closing lines of each runner, then which steps failed: the last that a reader of the log sees.
closing() {
    printf '\n'
    local log
    for log in "$@"; do
        [ -f "$logs/$log.log" ] && grep -aE 'Test run with|^=+ .*(passed|failed|error|no tests).* =+$' "$logs/$log.log" | tail -1
    done
    if [ ${#failed[@]} -gt 0 ]; then
        printf '%s: failed: %s\n' "$0" "$(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
        exit 1
    fi
    printf '%s: all passed (%d s)\n' "$0" "$SECONDS"
}
