#!/bin/sh
# Makes .venv from uv.lock: sh demo/bootstrap.sh GROUP   (GROUP: demo or dev)
# Needs Python 3.11-3.13; uv is taken from PATH or installed into .uv/. Each failure is one line with its cure.
set -u
group=${1:-demo}
log=var/bootstrap.log
minimum_mib=6000

fail() {
    echo "slipway: $1" >&2
    exit 1
}

good_python() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        good_python "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13; name one that is, or unset PYTHON."
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        if good_python "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3")
    fail "Python 3.11, 3.12 or 3.13 is needed, found $found; install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3.12 …"
}

good_uv() {
    # uv's own version, 0.9 or later (pyproject.toml, required-version).
    version=$("$1" --version 2>/dev/null | sed -n 's/^uv \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ -n "$version" ] || return 1
    # shellcheck disable=SC2086
    set -- $version
    [ "$1" -gt 0 ] || [ "$2" -ge 9 ]
}

explain() {
    # $1: what was being done. Reads the log of the failed command.
    if grep -qiE 'no space left|disk quota|os error 28' "$log"; then
        fail "the disk is full while $1; free at least $minimum_mib MiB under $PWD (and uv's cache, see 'uv cache dir'), then run make again."
    fi
    if grep -qiE 'dns error|resolve|connection refused|connect error|error sending request|timed out|network is unreachable|connection reset|failed to fetch|no matching distribution|max retries|connection broken|name resolution' "$log"; then
        fail "no network to the Python package index while $1; check the connection or proxy (HTTPS_PROXY, UV_DEFAULT_INDEX, PIP_INDEX_URL), then run make again. Details: $log"
    fi
    if grep -qiE 'permission denied|os error 13' "$log"; then
        fail "no right to write while $1; make $PWD and uv's cache writable, or set UV_CACHE_DIR. Details: $log"
    fi
    last=$(grep -v '^ *$' "$log" | tail -n 1)
    fail "$1 failed: $last (details: $log)"
}

mkdir -p var 2>/dev/null || fail "cannot write to $PWD; run make in a folder that you own."
: >"$log" 2>/dev/null || fail "cannot write $PWD/$log: the disk is full or the folder is not yours; free space or fix its owner, then run make again."

python=$(find_python) || exit 1

free_mib=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
if [ ! -x .venv/bin/python ] && [ "${free_mib:-$minimum_mib}" -lt "$minimum_mib" ]; then
    fail "only $free_mib MiB free under $PWD and the packages need $minimum_mib; free some space, then run make again."
fi

uv=uv
if ! good_uv uv; then
    uv=.uv/bin/uv
    if ! good_uv "$uv"; then
        echo "Installing uv into .uv/"
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            fail "uv is not on PATH and $python cannot make a virtual environment; install one of them (Debian, Ubuntu: apt-get install python3-venv; uv: https://docs.astral.sh/uv)."
        fi
        "$python" -m venv --clear .uv >"$log" 2>&1 || explain "making .uv"
        .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9' >"$log" 2>&1 || explain "installing uv"
    fi
fi

echo "Installing the packages of uv.lock into .venv (group $group; once, some minutes without a cache)"
unset VIRTUAL_ENV UV_PYTHON
UV_PROJECT_ENVIRONMENT=$PWD/.venv
UV_PYTHON_DOWNLOADS=never
export UV_PROJECT_ENVIRONMENT UV_PYTHON_DOWNLOADS
status=var/bootstrap.status
{
    # --inexact: the demo's set must not remove the test tools of a checkout that has both.
    "$uv" sync --frozen --inexact --compile-bytecode --python "$python" --no-default-groups --group "$group" 2>&1
    echo $? >"$status"
} | tee "$log" | grep --line-buffered -E '^ *(Using|Creating|Downloading|Building|Built|Prepared|Uninstalled|Installed|Bytecode)'
[ "$(cat "$status" 2>/dev/null)" = 0 ] || explain "installing packages"
rm -f "$status"
