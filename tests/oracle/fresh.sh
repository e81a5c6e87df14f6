#!/usr/bin/env bash
# New random scenarios: recorded on CPython's asyncio now, run on heist on 4 workers, compared. README.md says more.
#
#     tests/oracle/fresh.sh [--fresh COUNT] [--seed SEED] [other options of check.py]
#
# Says that it skipped, and why, where there is no CPython 3.11 or no kit.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() {
    echo "skipped: $*"
    exit 0
}

is_311() { [ "$("$1" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null)" = "3 11" ]; }

python=
for candidate in python3.11 python3; do
    if is_311 "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || skip "no CPython 3.11 here, neither as python3.11 nor as python3"

kit=${HEIST_ORACLE_KIT:-../shared/oracle}
if [ ! -f "$kit/check.py" ]; then
    [ -z "${HEIST_ORACLE_KIT:-}" ] || { echo "HEIST_ORACLE_KIT is $kit, and there is no check.py" >&2; exit 1; }
    skip "no kit in $kit: say where it is with HEIST_ORACLE_KIT"
fi

cargo build --quiet --release -p heist-oracle
# It prints the seed, which is random unless given.
exec "$python" "$kit/check.py" --fixed --fresh 100 "$@" -- cargo run --quiet --release -p heist-oracle -- --workers 4
