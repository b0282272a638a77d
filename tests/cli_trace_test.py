# SPDX-License-Identifier: Apache-2.0
"""--trace: that it is JSON, and says of every frame what the statistics say.

usage: as cli_test_support.py says
"""

import collections
import json
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from cli_test_support import PROGRAM, TIMEOUT_S, Case, ppm

OUTCOMES = ("completed", "failed", "rejected", "dropped", "expired", "cancelled")


def number_of(event):
    """What tells the frame of an event from all others of the file."""
    return event["args"]["frame"] + (event["args"]["stream"] << 40)


class Trace(Case):
    def traced(self, *args, **options):
        """Runs with a trace and checks it against the statistics. Returns the events by phase, and the statistics."""
        path = self.folder / "trace.json"
        statistics, _ = self.run_json(*args, "--trace", path, **options)
        return self.checked(path, statistics), statistics

    def checked(self, path, statistics):
        def refuse(constant):
            self.fail(f"{constant} is not JSON")

        trace = json.loads(Path(path).read_text(), parse_constant=refuse)
        events = collections.defaultdict(list)
        for event in trace["traceEvents"]:
            events[event["ph"]].append(event)
        self.assertEqual(set(events) - {"M", "b", "e", "X"}, set())
        self.check_frames(events, statistics)
        self.check_slots(events, statistics)
        named = {event["pid"] for event in events["M"] if event["name"] == "process_name"}
        self.assertEqual({e["pid"] for phase in "beX" for e in events[phase]} - named, set())
        return events

    def check_frames(self, events, statistics):
        """Each submission is one slice of its stream."""
        begins = {event["id"]: event for event in events["b"]}
        ends = {event["id"]: event for event in events["e"]}
        self.assertEqual(len(begins), len(events["b"]))
        self.assertEqual(len(ends), len(events["e"]))
        self.assertEqual(set(begins), set(ends))
        self.assertEqual(len(begins), statistics["submitted"])
        counts = collections.Counter(event["args"]["outcome"] for event in events["b"])
        self.assertEqual({word: counts[word] for word in OUTCOMES}, {word: statistics[word] for word in OUTCOMES})
        for number, event in begins.items():
            self.assertEqual(number_of(event), number)
            self.assertEqual(event["pid"], 1000 + event["args"]["stream"])
            self.assertEqual(event["name"], event["args"]["outcome"])
            self.assertLessEqual(event["ts"], ends[number]["ts"])

    def check_slots(self, events, statistics):
        """Each prediction that ran is one slice of its slot, within its frame's; those of a slot never overlap."""
        begins = {event["id"]: event for event in events["b"]}
        ends = {event["id"]: event for event in events["e"]}
        ran = [number_of(event) for event in events["b"] if "slot" in event["args"]]
        self.assertEqual(sorted(number_of(event) for event in events["X"]), sorted(ran))
        widths = collections.Counter(event["name"] for event in events["X"])
        self.assertEqual({width: widths[width] for width in statistics["width"]}, statistics["width"])
        slots = collections.defaultdict(list)
        for event in events["X"]:
            frame, frame_end = begins[number_of(event)], ends[number_of(event)]
            self.assertEqual(event["tid"], frame["args"]["slot"])
            self.assertEqual(event["name"], frame["args"]["width"])
            self.assertLess(event["tid"], statistics["slots"])
            start, end = event["ts"], event["ts"] + event["dur"]
            self.assertGreaterEqual(start, frame["ts"])
            self.assertLessEqual(end, frame_end["ts"] + 0.001)
            args = frame["args"]
            whole = args["wait_us"] + args["run_us"] + args["delivery_us"]
            self.assertAlmostEqual(whole, frame_end["ts"] - frame["ts"], places=2)
            slots[event["pid"], event["tid"]].append((start, end))
        for track, spans in slots.items():
            spans.sort()
            for (_, end), (start, _) in zip(spans, spans[1:]):
                self.assertLessEqual(end, start + 0.001, track)  # of ns, as decimal fractions

    def test_all_complete(self):
        events, statistics = self.traced("--fps", "0", "--frames", "300", "--limit", "4")
        self.assertEqual(statistics["completed"], 300)
        self.assertEqual(len(events["X"]), 300)
        names = {e["pid"]: e["args"]["name"] for e in events["M"] if e["name"] == "process_name"}
        self.assertEqual(names[1], "slots: " + statistics["device"])
        self.assertEqual(names[1000], "stream: " + statistics["source"])

    def test_each_stream_is_a_process_of_its_own(self):
        events, statistics = self.traced("--streams", "3", "--fps", "2000", "--frames", "500", "--limit", "3", "--policy",
                                         "drop-oldest")  # fmt: skip
        self.assertEqual(statistics["submitted"], 1500)
        for stream, books in enumerate(statistics["streams"]):
            own = [event for event in events["b"] if event["pid"] == 1000 + stream]
            self.assertEqual(sorted(event["args"]["frame"] for event in own), list(range(500)))
            counts = collections.Counter(event["args"]["outcome"] for event in own)
            self.assertEqual({word: counts[word] for word in OUTCOMES}, {word: books[word] for word in OUTCOMES})
        names = {e["pid"] for e in events["M"] if e["name"] == "process_name" and e["args"]["name"].startswith("stream: ")}
        self.assertEqual(names, {1000, 1001, 1002})

    def test_wide(self):
        events, _ = self.traced("--fps", "0", "--frames", "50", "--width", "wide")
        self.assertEqual({event["name"] for event in events["X"]}, {"wide"})

    def test_refused_frames_are_there(self):
        _, statistics = self.traced(self.slow(), "--fps", "20000", "--frames", "1000", "--limit", "1")
        self.assertGreater(statistics["rejected"], 0)

    def test_expired_frames_have_no_slot(self):
        _, statistics = self.traced(self.slow(), "--fps", "20000", "--frames", "1000", "--limit", "1000",
                                    "--deadline-ms", "50")  # fmt: skip
        self.assertGreater(statistics["expired"], 0)

    def test_sizes_have_slots_of_their_own(self):
        for name, width in (("a", 64), ("b", 32), ("c", 64), ("d", 32)):
            self.file(f"pictures/{name}.ppm", ppm(width, 48, (1, 2, 3)))
        events, _ = self.traced("--source", self.folder / "pictures", "--fps", "0")
        self.assertEqual(len({event["pid"] for event in events["X"]}), 2)
        names = [e["args"]["name"] for e in events["M"] if e["name"] == "process_name"]
        self.assertIn("slots for frames of 32x48", names)

    def test_a_signal_leaves_it_whole(self):
        path, report = self.folder / "trace.json", self.folder / "run.json"
        process = subprocess.Popen([PROGRAM, "run", "--fps", "200", "--duration", "60", "--trace", path, "--json", report],
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        self.wait_until_caught(process, signal.SIGINT)
        self.wait_for(lambda: path.exists() and path.stat().st_size > 10000)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(TIMEOUT_S), 128 + signal.SIGINT)
        self.checked(path, self.read_json(report))

    def test_no_frames(self):
        path = self.folder / "trace.json"
        self.run_program("run", "--source", self.folder / "missing", "--trace", path)
        self.assertFalse(path.exists())

    def test_a_full_disk_is_told_at_the_end(self):
        done = self.run_program("run", "--device", "null", "--frames", "2000", "--fps", "0", "--trace", "/dev/full")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "inflight: --trace: cannot write \"/dev/full\": No space left on device\n")
        self.assertIn("2,000 submitted", done.stdout)

    def test_is_not_another_output(self):
        path = self.folder / "a"
        self.assert_refused(2, "--json and --trace: ", "run", "--json", path, "--trace", path)
        self.assert_refused(2, "--trace: got nothing, want a file to write", "run", "--trace", "")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
