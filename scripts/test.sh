#!/usr/bin/env bash
# test.sh [PART …]: the parts of the tests one after the other, all of them even if one fails; their times at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(lint test-quick test-postgres test-browser test-live test-faults)
declare -A limit=([lint]=600 [test-quick]=2400 [test-postgres]=1200 [test-browser]=900 [test-live]=1800 [test-faults]=1800) # seconds
logs=$(mktemp -d)
export SSTOOLS_TEST_LOGS=$logs
# Whatever is started below inherits it; what still has it at the end was left behind.
export MADE_BY_TEST_RUN="$$-$RANDOM$RANDOM"
lab=""
summary=()
failed=0
whole=$SECONDS

# Tests with real processes, servers and browsers on two shared cores miss a deadline once in a while. A few that fail get a
# second try, which is said by name in the last line; more than a few are no accident.
MAY_FAIL_ONCE=3

run_part() { # PART [pytest options …]; sets `code`
    local part=$1
    shift
    PYTEST_ADDOPTS="-o cache_dir=$logs/cache-$part $*" timeout --kill-after=60 "${limit[$part]:-1800}" \
        make --no-print-directory "$part" 2>&1 | tee "$logs/$part"
    code=${PIPESTATUS[0]}
}

left_behind() { # pids that were started with the mark; this shell was not
    local file pid
    for file in /proc/[0-9]*/environ; do
        pid=${file#/proc/} pid=${pid%/environ}
        grep -qsz "^MADE_BY_TEST_RUN=$MADE_BY_TEST_RUN\$" "$file" && echo "$pid"
    done
}

end() {
    [ -z "$lab" ] || kill "$lab" 2>/dev/null
    rm -rf "$logs"
}
trap end EXIT
trap 'exit 130' INT TERM

if [[ " ${parts[*]} " == *" test-live "* || " ${parts[*]} " == *" test-faults "* ]]; then
    # Downloads for some minutes the first time; the other parts have no use for the network.
    (for version in 6.1.0 4.1.4 6.0.0; do .venv/bin/python -m environments.lab install "$version" || exit 1; done) \
        >"$logs/lab" 2>&1 </dev/null &
    lab=$!
fi
for part in "${parts[@]}"; do
    if [[ $part = test-live || $part = test-faults ]] && [ -n "$lab" ]; then
        started=$SECONDS
        if wait "$lab"; then result=ok; else result="FAILED, see below" && tail -n 20 "$logs/lab"; fi
        lab=""
        summary+=("waiting for the lab $((SECONDS - started)) s $result")
    fi
    echo "── $part"
    started=$SECONDS
    run_part "$part"
    tests=$(grep -aoE '([0-9]+ (passed|failed|skipped|errors?)(, )?)+' "$logs/$part" | tail -n 1)
    again=""
    failures=$(grep -acE '^(FAILED|ERROR) ' "$logs/$part")
    if [ "$code" = 2 ] && [[ $part = test-* ]] && [ "$failures" -ge 1 ] && [ "$failures" -le $MAY_FAIL_ONCE ]; then
        echo "── $part: what failed, once more"
        again=" after a second try of $(grep -aE '^(FAILED|ERROR) ' "$logs/$part" | awk '{print $2}' | paste -sd ' ')"
        run_part "$part" --last-failed --last-failed-no-failures=none
    fi
    case $code in
        0) result="ok$again" ;;
        124 | 137) result="FAILED (not done after ${limit[$part]:-1800} s)" failed=1 ;;
        *) result="FAILED ($code)" failed=1 ;;
    esac
    summary+=("$part $((SECONDS - started)) s $result${tests:+ (${tests%, })}")
done
for _ in $(seq 20); do # what ends by itself when its last user has gone
    pids=$(left_behind)
    [ -n "$pids" ] || break
    sleep 1
done
if [ -n "$pids" ]; then
    echo "── still running" && ps -o pid,ppid,args -p "${pids//$'\n'/,}"
    kill -9 $pids 2>/dev/null
    summary+=("LEFT RUNNING: $(wc -w <<<"$pids") processes")
    failed=1
fi
joined=$(printf ' · %s' "${summary[@]}")
echo "── $([ $failed = 0 ] && echo passed || echo FAILED) in $(((SECONDS - whole) / 60)) min $(((SECONDS - whole) % 60)) s:${joined# ·}"
exit $failed
