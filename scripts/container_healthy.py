#!/usr/bin/env python3
"""Health check of a container, exit code 0 or 1.

`alioth-healthy PORT PATH`: does that address answer 200 on loopback?
`alioth-healthy NAME`: does a process of that name own its place in the data directory?
"""

import fcntl
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

SECRET = Path("/var/lib/alioth-secrets/models-token")


def answers(port: str, path: str) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if os.access(SECRET, os.R_OK):
        request.add_header("Authorization", f"Bearer {SECRET.read_text().strip()}")
    try:
        with urllib.request.urlopen(request, timeout=4) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError) as error:
        print(error)
        return False


def owned(name: str) -> bool:
    lock = Path(os.environ["ALIOTH_HOME"]) / "run" / f"{name}.lock"
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        print(error)
    return False


if __name__ == "__main__":
    sys.exit(0 if (answers(*sys.argv[1:3]) if len(sys.argv) == 3 else owned(sys.argv[1])) else 1)
