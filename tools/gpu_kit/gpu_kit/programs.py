"""The kit's programs and libraries travel in one archive."""
import os
import shutil
import subprocess
import sys
import tarfile

ARCHIVE = "programs.tar.xz"
COMPILERS = ["libgcc_s.so.1", "libstdc++.so.6"]  # the compiler's own libraries, which need a later glibc than programs do


def unpack(kit):
    """Into bin and lib of the kit, unless they are there. Half an unpacking leaves no bin. Raises OSError, ImportError, ValueError."""
    if (kit / "bin").exists() or not (kit / ARCHIVE).exists():
        return
    try:
        import lzma
    except ImportError as error:
        raise ImportError(f"this Python cannot ({error}); tar -xJf {ARCHIVE} does it") from error
    part = kit / ".part-programs"
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(kit / ARCHIVE) as archive:
            archive.extractall(part)
    except (EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    shutil.rmtree(kit / "lib", ignore_errors=True)
    _leave_out_what_does_not_load(part / "lib")
    os.replace(part / "lib", kit / "lib")
    os.replace(part / "bin", kit / "bin")
    part.rmdir()


def _leave_out_what_does_not_load(lib):
    """Where glibc is too old for the compiler's libraries that travelled, the machine's own are taken."""
    load = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(lib)}
    there = [lib / name for name in COMPILERS if (lib / name).exists()]
    if any(subprocess.run([*load, str(path)], env=environment, stderr=subprocess.DEVNULL).returncode for path in there):
        for path in there:
            path.unlink()
