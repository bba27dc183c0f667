#!/usr/bin/env bash
# Set-up on Debian or Ubuntu: system packages where we may install them, then a virtual environment.
# PYTHON names the interpreter, TORCH_INDEX an extra package index for PyTorch's CPU build.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

missing=()
command -v ffmpeg >/dev/null || missing+=(ffmpeg)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v chromium >/dev/null || missing+=(chromium)  # for tests of the web page
python=$(find_python)
[ -n "$python" ] || missing+=(python3)
if [ -z "$python" ] || ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
fi

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
        sudo=""
    elif sudo -n true 2>/dev/null; then
        sudo="sudo"
    else
        echo "Missing Debian packages: ${missing[*]}. They are needed for tests and set-up, and this user may not install them." >&2
        echo "Do: sudo apt-get install ${missing[*]}   and run make setup again." >&2
        exit 1
    fi
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo "No Python 3.11 or newer was found. Do: install one, and run make setup PYTHON=/path/to/python again." >&2
    exit 1
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
arguments=(install --disable-pip-version-check -q)
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    echo "NVIDIA GPU found: installing the normal build of PyTorch."
else
    echo "No NVIDIA GPU found: installing the CPU build of PyTorch (constraints-cpu.txt)."
    arguments+=(-c constraints-cpu.txt)
    [ -z "${TORCH_INDEX:-}" ] || arguments+=(--extra-index-url "$TORCH_INDEX")
fi
.venv/bin/python -m pip "${arguments[@]}" -e '.[dev]'
.venv/bin/tubelet doctor
