"""A process that gives up what LibreOffice does not need to convert one file, and then becomes LibreOffice.

Run as `python -m ingest.office_child '{"program": …}'`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

from ingest import sandbox


def main(arguments: list[str]) -> int:
    """Confine this process and replace it. Settings come as JSON in the only argument."""
    options = json.loads(arguments[0])
    sandbox.die_with(options["parent"])
    sandbox.limit(resource.RLIMIT_CORE, 0)
    sandbox.limit(resource.RLIMIT_NOFILE, 256)
    sandbox.limit(resource.RLIMIT_AS, int(options["memory_mb"]) << 20)
    sandbox.limit(resource.RLIMIT_CPU, int(options["cpu_s"]) + 1)
    sandbox.limit(resource.RLIMIT_FSIZE, int(options["max_bytes"]))
    for number in (signal.SIGXFSZ, signal.SIGPIPE):  # Python ignores them, and programs inherit that
        signal.signal(number, signal.SIG_DFL)
    program = Path(options["program"])
    sandbox.confine_program(program.parent.parent, Path(options["folder"]))
    os.execve(program, [str(program), *options["arguments"]], options["environment"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
