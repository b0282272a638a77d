# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line feed the program, how they run it, and what holds of every run.

usage: cli_..._test.py PROGRAM MODELS_FOLDER DATA_FOLDER SANITIZERS [unittest arguments]
SANITIZERS is what the program was built with, or nothing.
"""

import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib
from pathlib import Path

PROGRAM, MODELS, DATA, SANITIZERS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
TIMEOUT_S = 600 if SANITIZERS else 120
# Within which a run of ten minutes ends after a signal, whatever its readers do: it takes a second on an idle machine.
END_S = 20
OUTCOMES = ("completed", "failed", "rejected", "dropped", "expired", "cancelled", "in_flight")


# ---- What the tests feed it ---------------------------------------------------------------------------------------


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """One field of a protobuf message: an integer, or bytes, or text."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


ONNX_TYPES = {"f32": 1, "u8": 2, "i8": 3, "i64": 7}


def onnx_value(name, dtype, dims):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, ONNX_TYPES[dtype]) + field(2, shape)))


def onnx_node(op, inputs, outputs, **integers):
    text = b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) + field(4, op)
    # attribute: name, an integer, and that it is one
    return text + b"".join(field(5, field(1, k) + field(3, v) + field(20, 2)) for k, v in integers.items())


def onnx_model(nodes, inputs, outputs):
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g")
    graph += b"".join(field(11, onnx_value(*i)) for i in inputs) + b"".join(field(12, onnx_value(*o)) for o in outputs)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def slow_model():
    """A model that takes 1.6 billion operations, one after the other: milliseconds on any machine.

    For tests of overload: the embedded model takes so little that a fast machine keeps up with any rate."""
    nodes, last = [], "x"
    for step in range(16):
        nodes += [onnx_node("MatMul", [last, "x"], [f"m{step}"]), onnx_node("Softmax", [f"m{step}"], [f"s{step}"])]
        last = f"s{step}"
    nodes.append(onnx_node("GlobalAveragePool", [last], ["y"]))
    return onnx_model(nodes, [("x", "f32", [1, 3, 256, 256])], [("y", "f32", [1, 3, 1, 1])])


def ppm(width, height, color):
    return b"P6 %d %d 255\n" % (width, height) + bytes(color) * (width * height)


def png(width, height, color):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(color) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---- How they run it ----------------------------------------------------------------------------------------------


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="inflight_cli_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def run_program(self, *args):
        return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=TIMEOUT_S,
                              stdin=subprocess.DEVNULL)

    def wait_for(self, condition):
        until = time.monotonic() + TIMEOUT_S
        while not condition():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)

    def wait_until_caught(self, process, number):
        """Waits until the program has a handler for the signal: on a busy machine that can take a while."""

        def caught():
            self.assertIsNone(process.poll(), "it has ended")
            status = Path(f"/proc/{process.pid}/status").read_text()
            (mask,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
            return mask >> (number - 1) & 1

        self.wait_for(caught)

    def assert_refused(self, code, text, *args):
        done = self.run_program(*args)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("inflight: "), lines[0])
        self.assertIn(text, lines[0])

    def read_json(self, path, damaged=0):
        def refuse(constant):
            self.fail(f"{constant} is not JSON")

        statistics = json.loads(Path(path).read_text(), parse_constant=refuse)
        self.assertEqual(statistics["submitted"], sum(statistics[o] for o in OUTCOMES))
        self.assertEqual(statistics["in_flight"], 0)
        self.assertEqual(sum(statistics["width"].values()),
                         statistics["completed"] + statistics["failed"] - damaged)
        return statistics

    def run_json(self, *args, code=0, notes=0, damaged=0):
        """Runs `run` and returns its statistics, the sum law checked.

        notes: lines on stderr beside that of a failed run; damaged: frames that failed before they ran."""
        path = self.folder / "run.json"
        done = self.run_program("run", *args, "--json", path)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), notes + (code != 0), done.stderr)
        return self.read_json(path, damaged), done

    def shown_on_terminal(self, *args, stream, **options):
        """Runs the program with that stream ("stdout" or "stderr") on a terminal. Returns what it showed there."""
        main, terminal = pty.openpty()
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, stream: terminal}
        process = subprocess.Popen([PROGRAM, *args], **streams, **options)
        self.addCleanup(process.kill)
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(main, 4096)
            except OSError:  # how a terminal says that its other side has gone
                break
            if not piece:
                break
            shown += piece
        os.close(main)
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        return shown.decode()

    def slow(self):
        """The file of a model for which 5,000 frames per second are too much for any machine."""
        return self.file("slow.onnx", slow_model())

    def read_results(self, path):
        def refuse(constant):
            self.fail(f"{constant} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in Path(path).read_text().splitlines()]
