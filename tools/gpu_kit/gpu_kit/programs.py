"""The kit's programs and libraries travel in one archive."""
import os
import shutil
import tarfile

ARCHIVE = "programs.tar.xz"


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
    os.replace(part / "lib", kit / "lib")
    os.replace(part / "bin", kit / "bin")
    part.rmdir()
