"""A process that measures on request: a line of JSON in, a line of JSON out. The first line that it writes says that it is ready."""
import json
import os
import select
import subprocess
import time


class WorkerFailed(Exception):
    """Why a program gave no result."""


def last_words(path, limit=300):
    """The last line of what a process wrote to standard error: with most programs the reason."""
    with open(path, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1][-limit:] if lines else "it wrote no reason"


class Worker:
    def __init__(self, command, log, environment=None, limit=900):
        """`log`: file that takes standard error; `limit`: seconds that one answer may take."""
        self.log, self.limit, self.rest = log, limit, b""
        self.started = time.perf_counter()
        with open(log, "w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            env={**os.environ, **(environment or {})})
        self.ready = None

    def wait_until_ready(self):
        if self.ready is None:
            self.ready = self.receive()

    def ask(self, question):
        self.wait_until_ready()
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # receive() says why
        return self.receive()

    def receive(self):
        try:
            answer = json.loads(self.line())
        except (ValueError, UnicodeDecodeError):
            self.close()
            raise WorkerFailed("its answer is no JSON") from None
        if "error" in answer:
            raise WorkerFailed(answer["error"])
        return answer

    def line(self):
        deadline = time.perf_counter() + self.limit
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.perf_counter()))[0]:
                self.close()
                raise WorkerFailed(f"it gave no answer in {self.limit} s")
            block = os.read(self.process.stdout.fileno(), 1 << 16)
            if not block:
                self.close()
                raise WorkerFailed(f"it ended with status {self.process.returncode}: {last_words(self.log)}")
            self.rest += block
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def peak_bytes(self):
        """Of resident memory, mapped files included, so far."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))

    def alive(self):
        return self.process.poll() is None

    def close(self):
        """Ends it and waits for that, by force if closing its input does not do."""
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(timeout=0.1 if self.ready is None else 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
