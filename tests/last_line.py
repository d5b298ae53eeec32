"""For scripts that run other programs. If one fails, the script ends with a line that names it instead of a traceback, so that the last
line of a step of .ci/run is the cause."""

import pathlib
import subprocess
import sys


def _named(kind, error, trace):
    if not issubclass(kind, subprocess.CalledProcessError):
        sys.__excepthook__(kind, error, trace)
        return
    if error.stderr:
        print(error.stderr, file=sys.stderr)
    command = [error.cmd] if isinstance(error.cmd, (str, pathlib.Path)) else error.cmd
    print(f"{pathlib.Path(sys.argv[0]).stem}: failed: ended with {error.returncode}: {' '.join(map(str, command))}", file=sys.stderr)


def names_what_failed():
    sys.excepthook = _named
