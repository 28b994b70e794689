"""python -m warploom COMMAND: the command line, for instance `generate`, `chat`, `compare` and `bench`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .pretrained import pretrained


_TAKES_MODEL = frozenset("generate chat compare score tokenize detokenize bench".split())
_NEEDS_NO_MODEL = frozenset("-h --help --version --sampler --ops --gpu-ops -m --model --shape".split())


def _with_model(arguments: list[str]) -> list[str]:
    """With the model that came as a package, if none is named and the folder has none under models/."""
    if not arguments or arguments[0] not in _TAKES_MODEL or any(Path("models").glob("*.gguf")):
        return arguments
    if any(argument.partition("=")[0] in _NEEDS_NO_MODEL for argument in arguments):
        return arguments
    try:
        return [*arguments, "--model", str(pretrained("smollm2-135m"))]
    except FileNotFoundError:
        return arguments


def main() -> None:
    """Becomes the program; `bench` is warploom-bench, everything else goes to warploom."""
    package = Path(__file__).parent
    arguments = _with_model(sys.argv[1:])
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
