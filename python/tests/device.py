"""A GPU's memory by ctypes, or that of what stands in for one, and tensors there that watch how they are exported."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

CODES = {"i": 0, "u": 1, "f": 2, "b": 6}  # DLPack's of NumPy's kinds
LEGACY, PER_THREAD = 1, 2


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", Deleter)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype, capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
is_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
exported: dict[int, Any] = {}  # what capsules point to, until the consumer deletes it


@Deleter
def delete(address: int) -> None:
    exported.pop(address)[0].deleted += 1


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def give_back(capsule: int) -> None:
    """Of a capsule that nobody took."""
    for name in (b"dltensor", b"dltensor_versioned"):
        if is_capsule(capsule, name):
            delete(pointer_in(capsule, name))


class Cuda:
    """CUDA's runtime, the one that this process has loaded."""

    def __init__(self) -> None:
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libcudart.so" in line}
        assert len(loaded) == 1, loaded
        self.path = loaded.pop()
        self._library = ctypes.CDLL(self.path)
        self.emulated = hasattr(self._library, "warploom_emulator_calls")
        if self.emulated:
            self._library.warploom_emulator_calls.restype = ctypes.c_uint64
            self._library.warploom_emulator_report.restype = ctypes.c_char_p

    def __call__(self, function: str, *arguments: Any) -> None:
        error = getattr(self._library, function)(*arguments)
        assert error == 0, f"{function}: error {error}"

    def available(self) -> bool:
        count = ctypes.c_int()
        return self._library.cudaGetDeviceCount(ctypes.byref(count)) == 0 and count.value > 0

    def calls(self, function: str) -> int:
        """How often the process has called it so far; of the emulator."""
        return int(self._library.warploom_emulator_calls(function.encode()))

    def report(self) -> str:
        return str(self._library.warploom_emulator_report().decode()) if self.emulated else ""

    def free(self, address: int) -> None:
        """Whether or not the device has failed: what failed was reported already."""
        self._library.cudaFree(ctypes.c_void_p(address))

    def stream(self) -> int:
        handle = ctypes.c_void_p()
        self("cudaStreamCreateWithFlags", ctypes.byref(handle), 1)  # which does not wait for the legacy one
        return handle.value or 0

    def synchronize(self) -> None:
        self("cudaDeviceSynchronize")

    def replay(self, stream: int, work: Callable[[], Any]) -> Callable[[], None]:
        """Captures what `work` queues on the stream; returns what runs it and waits."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self("cudaStreamBeginCapture", ctypes.c_void_p(stream), 0)
        work()
        self("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        self("cudaGraphInstantiate", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))

        def run() -> None:
            self("cudaGraphLaunch", executable, ctypes.c_void_p(stream))
            self("cudaStreamSynchronize", ctypes.c_void_p(stream))

        return run


class Tensor:
    """An array on the GPU, of no package. `streams` holds what its exports were told."""

    def __init__(self, cuda: Cuda, array: Any, *, read_only: bool = False, number: int = 0, strides: Any = None) -> None:
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        self.cuda, self.shape, self.dtype, self.read_only, self.number = cuda, array.shape, array.dtype, read_only, number
        self.strides = strides  # in elements
        self.address = 0
        self.streams: list[Any] = []
        self.deleted = 0
        memory = ctypes.c_void_p()
        cuda("cudaMalloc", ctypes.byref(memory), ctypes.c_size_t(max(array.nbytes, 1)))
        self.address = memory.value or 0
        self.nbytes = array.nbytes
        self.set(array)

    def __del__(self) -> None:
        self.cuda.free(self.address)

    def set(self, array: Any) -> None:
        array = np.ascontiguousarray(array)
        assert array.nbytes == self.nbytes
        copied = ctypes.c_void_p(self.address), ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(self.nbytes)
        self.cuda("cudaMemcpy", *copied, 1)
        self.cuda("cudaStreamSynchronize", ctypes.c_void_p())  # the bytes may arrive after the call

    def host(self) -> Any:
        self.cuda.synchronize()
        return read_back(self.cuda, self.address, self.shape, self.dtype)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self.number)

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.streams.append(stream)
        return self.capsule(max_version is not None)

    def capsule(self, versioned: bool) -> Any:
        managed: Any = ManagedVersioned() if versioned else Managed()
        tensor = managed.tensor
        tensor.data, tensor.device_type, tensor.device_id, tensor.ndim = self.address, 2, self.number, len(self.shape)
        bfloat = self.dtype == ml_dtypes.bfloat16
        tensor.code = 4 if bfloat else CODES[self.dtype.kind]
        tensor.bits, tensor.lanes = 8 * self.dtype.itemsize, 1
        shape = (ctypes.c_int64 * max(len(self.shape), 1))(*self.shape)
        tensor.shape = shape
        strides = (ctypes.c_int64 * len(self.shape))(*self.strides) if self.strides else None
        if strides is not None:
            tensor.strides = strides
        managed.deleter = delete
        address = ctypes.addressof(managed)
        exported[address] = (self, managed, shape, strides)
        if versioned:
            managed.major, managed.flags = 1, int(self.read_only)
        return new_capsule(ctypes.c_void_p(address), b"dltensor_versioned" if versioned else b"dltensor", give_back)


class OldTensor(Tensor):
    """As packages exported before DLPack 1.0."""

    def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]
        self.streams.append(stream)
        return self.capsule(False)


def read_back(cuda: Cuda, address: int, shape: Any, dtype: Any) -> Any:
    array = np.zeros(shape, dtype)
    cuda("cudaMemcpy", ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(address), ctypes.c_size_t(array.nbytes), 2)
    return array


def result(cuda: Cuda, array: Any, stream: int = LEGACY) -> Any:
    """What a DeviceArray holds, read as a consumer on that stream reads it."""
    capsule = array.__dlpack__(stream=stream, max_version=(1, 0))
    tensor = ManagedVersioned.from_address(capsule_pointer(capsule, b"dltensor_versioned")).tensor
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    kind = next(kind for kind, code in CODES.items() if code == tensor.code)
    cuda("cudaStreamSynchronize", ctypes.c_void_p(stream))
    assert array.__dlpack_device__() == (2, 0) and shape == array.shape
    return read_back(cuda, tensor.data or 0, shape, np.dtype(f"{kind}{tensor.bits // 8}"))


def module_under_test() -> str | None:
    """Where the emulator's build has warploom._cuda; None: the installed package's own is tested."""
    return os.environ.get("WARPLOOM_TEST_CUDA_MODULE")
