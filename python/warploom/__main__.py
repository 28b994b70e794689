"""python -m warploom COMMAND: the command line, for instance `generate`, `chat`, `compare` and `bench`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Becomes the program; `bench` is warploom-bench, everything else goes to warploom."""
    package = Path(__file__).parent
    arguments = sys.argv[1:]
    program = "warploom"
    if arguments[:1] == ["bench"]:
        program = "warploom-bench"
        arguments = arguments[1:]
    path = package / "bin" / program
    if not path.exists():
        sys.exit(f"python -m warploom: {path} is missing; install the package again")
    environment = dict(os.environ)
    if (package / "libwarploom_cuda_backend.so").exists():  # which the extension module finds beside itself
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(package), environment.get("LD_LIBRARY_PATH")]))
    os.execve(path, [program, *arguments], environment)


if __name__ == "__main__":
    main()
