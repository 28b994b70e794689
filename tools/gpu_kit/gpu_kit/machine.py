"""What the machine has: where CUDA's libraries are, what nvidia-smi says."""
import ctypes
import glob
import os
import pathlib
import shutil
import subprocess
import sys

FIELDS = ["name", "driver_version", "memory.total", "clocks.sm", "clocks.mem", "clocks.max.sm", "temperature.gpu", "power.draw", "clocks_event_reasons.active"]
CUBLASLT = "libcublasLt.so.13"


def cublaslt_folder(environment=os.environ, places=None):
    """The first folder that has cuBLASLt: of the loader's path, of its cache, of usual places, of Python packages; empty if none has."""
    if places is None:
        places = environment.get("LD_LIBRARY_PATH", "").split(":") + _from_cache() + [
            "/usr/local/cuda/lib64", "/usr/local/cuda-13/lib64", *glob.glob("/usr/local/cuda-13.*/lib64"), "/usr/lib/x86_64-linux-gnu", "/usr/lib64",
            *(f"{folder}/nvidia/{part}/lib" for folder in sys.path for part in ("cu13", "cublas") if folder)]
    for place in places:
        if place and pathlib.Path(place, CUBLASLT).exists():
            return str(place)
    return ""


def has_cublaslt(environment_):
    return any(folder and pathlib.Path(folder, CUBLASLT).exists() for folder in environment_["LD_LIBRARY_PATH"].split(":"))


def _from_cache():
    for ldconfig in ("ldconfig", "/sbin/ldconfig"):
        try:
            lines = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, timeout=10).stdout.splitlines()
        except (OSError, subprocess.TimeoutExpired):
            continue
        return [os.path.dirname(line.split("=>")[1].strip()) for line in lines if CUBLASLT in line and "=>" in line]
    return []


def own_environment():
    return dict(os.environ)


def environment(kit):
    """For the kit's programs. They find the kit's own libraries by themselves; others, as nvidia-smi, must not meet those."""
    result = own_environment()
    has_cublaslt = str(kit / "lib") if (kit / "lib" / CUBLASLT).exists() else cublaslt_folder(result)
    result["LD_LIBRARY_PATH"] = ":".join(folder for folder in [has_cublaslt, result.get("LD_LIBRARY_PATH", "")] if folder)
    result["PATH"] = ":".join([result.get("PATH", ""), "/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer"])
    return result


def driver_missing():
    """Why nothing can reach a GPU, if that is because the driver's library is missing; else empty."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine (libcuda.so.1 cannot be loaded)"
    return ""


def runs(arch, capability):
    """Whether code for one architecture, such as "90", runs on a GPU of a compute capability, such as "9.0"; where either is not known, yes."""
    if not arch.isdigit() or "." not in capability:
        return True
    major, minor = capability.split(".")
    return arch[:-1] == major and int(arch[-1]) <= int(minor)


def smi(environment_, gpu):
    """What nvidia-smi says of a GPU, which is named by its number or its place on the bus, by its field's names; {} without it."""
    program = shutil.which("nvidia-smi", path=environment_.get("PATH"))
    if not program:
        return {}
    for fields in (FIELDS, FIELDS[:-1]):  # older drivers do not know the last
        try:
            answer = subprocess.run([program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", gpu], capture_output=True,
                                    text=True, timeout=10, env=environment_)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        if answer.returncode == 0 and answer.stdout.strip():
            return dict(zip(fields, (value.strip() for value in answer.stdout.splitlines()[0].split(","))))
    return {}


class Clocks:
    """The lowest and the highest that were seen while a step ran."""

    def __init__(self, environment_, gpu):
        self.environment, self.gpu, self.values = environment_, gpu, {}

    def look(self):
        for field, value in smi(self.environment, self.gpu).items():
            if field in ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw"):
                try:
                    self.values.setdefault(field, []).append(float(value))
                except ValueError:
                    pass

    def seen(self):
        if not self.values:
            self.look()
        return {field: [min(values), max(values)] for field, values in self.values.items()}
