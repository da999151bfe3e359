#!/bin/sh
# Print the name of a Python that Alioth can use: 3.11 or newer, with venv. One clear line when there is none.
for name in python3.11 python3.12 python3.13 python3.14 python3; do
    command -v "$name" >/dev/null 2>&1 || continue
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo "$name"
        exit 0
    fi
done
echo "Python 3.11 or newer with its venv module was not found. Install it (Debian, Ubuntu: apt-get install python3 python3-venv)." >&2
exit 1
