# SPDX-License-Identifier: Apache-2.0
"""The files that the program writes: that none is another or an input, and how they are written.

usage: as cli_test_support.py says
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from cli_test_support import MODELS, PROGRAM, TIMEOUT_S, Case, field, onnx_model, onnx_node, ppm


class Outputs(Case):
    def run_here(self, *args, code=0, notes=0, **options):
        options = {"stdout": subprocess.PIPE, **options}
        done = subprocess.run([PROGRAM, "run", "--frames", "3", "--device", "null", *map(str, args)], text=True,
                              stderr=subprocess.PIPE, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, cwd=self.folder,
                              **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), notes + (code != 0), done.stderr)
        return done

    def refused(self, text, *args, **options):
        self.assertIn(text, self.run_here(*args, code=2, **options).stderr)

    # ---- One file under two names ---------------------------------------------------------------------------------

    def test_one_file_for_two_outputs(self):
        (self.folder / "folder").mkdir()
        os.symlink("folder", self.folder / "other")
        os.symlink("missing", self.folder / "link")
        os.symlink("link", self.folder / "link_to_link")
        self.file("here", b"old")
        os.link(self.folder / "here", self.folder / "hard")
        os.symlink("here", self.folder / "soft")
        for a, b in (("a", "a"), ("a", "./a"), ("a", self.folder / "a"), ("folder/a", "other/a"),
                     ("folder/../a", "a"), ("link", "missing"), ("link_to_link", "missing"), ("here", "hard"),
                     ("here", "soft"), ("here", "./folder/../soft"), ("/dev/stdout", "/dev/stdout"),
                     ("/dev/stdout", "/dev/fd/1"), ("/proc/self/fd/1", "/dev/stdout")):
            with self.subTest(a=a, b=b):
                self.refused("--json and --results: ", "--json", a, "--results", b)
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["folder", "hard", "here", "link", "link_to_link", "other", "soft"])
        self.assertEqual((self.folder / "here").read_bytes(), b"old")

    def test_devices_may_be_given_twice(self):
        self.run_here("--json", "/dev/null", "--results", "/dev/null")

    def test_names_in_two_folders_are_two_files(self):
        for name in ("one", "two"):
            (self.folder / name).mkdir()
        self.run_here("--json", "one/a", "--results", "two/a")

    def test_the_file_that_stdout_goes_to(self):
        for redirected in ("stdout", "stderr"):
            with self.subTest(redirected=redirected), open(self.folder / "out", "w") as out:
                done = subprocess.run([PROGRAM, "run", "--frames", "3", "--results", "./out"], cwd=self.folder,
                                      timeout=TIMEOUT_S, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                                                            redirected: out})
                self.assertEqual(done.returncode, 2)
        with open(self.folder / "out", "w") as out:
            self.refused("--json and --results: ", "--json", "/dev/stdout", "--results", "out", stdout=out)

    def test_descriptors_are_written_in_place(self):
        """What the file held stays, and the summary and the results follow each other."""
        with open(self.folder / "out", "w") as out:
            out.write("before\n")
            out.flush()
            self.run_here("--results", "/dev/stdout", stdout=out)
            out.write("after\n")
        lines = (self.folder / "out").read_text().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("before", "after"))
        self.assertEqual(sum(line.startswith("{") and line.endswith("}") for line in lines), 3, lines)
        self.assertIn("submitted", "".join(lines))
        os.symlink("/dev/stdout", self.folder / "link")
        with open(self.folder / "out", "a") as out:
            self.run_here("--results", "link", stdout=out)
        self.assertEqual((self.folder / "out").read_text().splitlines()[:len(lines)], lines)
        reader, writer = os.pipe()
        self.run_here("--json", f"/dev/fd/{writer}", pass_fds=[writer])
        os.close(writer)
        with open(reader, "rb") as pipe:
            self.assertEqual(self.read_json(self.file("piped.json", pipe.read()))["submitted"], 3)
        self.assertIn("Bad file descriptor", self.run_here("--json", "/dev/fd/77", code=3).stderr)

    # ---- Inputs ---------------------------------------------------------------------------------------------------

    def test_an_output_is_no_input(self):
        model = self.file("m.onnx", (MODELS / "shapes.onnx").read_bytes())
        source = self.file("a.ppm", ppm(8, 8, (1, 2, 3)))
        os.symlink("m.onnx", self.folder / "link")
        os.link(source, self.folder / "hard")
        self.file("pictures/1.ppm", ppm(8, 8, (1, 2, 3)))
        os.symlink("../hard", self.folder / "pictures/2.ppm")
        kept = {p: p.read_bytes() for p in (Path(model), Path(source), self.folder / "pictures/1.ppm")}
        for option in ("--json", "--results"):
            for belongs, args, path in (
                    ("the model", [model], "m.onnx"), ("the model", [model], "link"), ("the model", ["link"], model),
                    ("the source", ["--source", source], "./a.ppm"), ("the source", ["--source", source], "hard"),
                    ("the source", ["--source", "pictures"], "pictures/1.ppm"),
                    ("the source", ["--source", "pictures"], "a.ppm")):
                with self.subTest(option=option, args=args, path=path):
                    self.refused(f'{option}: "{path}" belongs to {belongs}', *args, option, path)
        for path, data in kept.items():
            self.assertEqual(path.read_bytes(), data)
        for notes in (0, 1):  # the second time it is there, and passed over
            self.run_here("--source", "pictures", "--json", "pictures/run.json", notes=notes)

    def test_an_output_is_no_part_of_a_model(self):
        image = ["f32", [1, 3, 8, 8]]
        external = onnx_model([onnx_node("Relu", ["x"], ["y"])], [("x", *image)], [("y", *image)])
        # A field that no reader of graphs looks at, with an entry as in a tensor's external_data.
        external += field(14, field(1, field(1, "location") + field(2, "weights/w.data")))
        external += field(14, field(1, field(1, "location") + field(2, "w" * 200)))
        self.file("e.onnx", external)
        self.file("i.xml", b"<net/>")
        self.file("p.pdmodel", b"")
        self.file("saved/saved_model.pb", b"")
        for name in ("weights/w.data", "w" * 200, "i.bin", "p.pdiparams", "saved/variables/variables.index"):
            self.file(name, b"kept")
        for model, path in (("e.onnx", "weights/w.data"), ("e.onnx", "w" * 200), ("i.xml", "./i.bin"),
                            ("p.pdmodel", "p.pdiparams"), ("saved", "saved/variables/variables.index"),
                            ("saved", "saved/saved_model.pb")):
            with self.subTest(model=model):
                self.refused("belongs to the model", model, "--json", path)

    # ---- How they are written -------------------------------------------------------------------------------------

    def test_json_is_replaced_whole(self):
        path = Path(self.file("run.json", b"old"))
        path.chmod(0o640)
        os.symlink("run.json", self.folder / "link")
        with open(path, "rb") as old:
            self.run_here("--json", "link")
            self.assertEqual(old.read(), b"old")  # who reads it reads on
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual(self.read_json(path)["submitted"], 3)
        self.assertEqual(path.stat().st_mode & 0o7777, 0o640)
        self.assertEqual(sorted(os.listdir(self.folder)), ["link", "run.json"])

    def test_json_has_the_permissions_of_a_new_file(self):
        old = os.umask(0o027)
        self.addCleanup(os.umask, old)
        self.run_here("--json", "run.json")
        self.assertEqual((self.folder / "run.json").stat().st_mode & 0o7777, 0o640)

    def test_json_through_a_link_to_nothing(self):
        (self.folder / "folder").mkdir()
        os.symlink("folder/run.json", self.folder / "link")
        self.run_here("--json", "link")
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual(self.read_json(self.folder / "folder/run.json")["submitted"], 3)

    def test_json_with_a_second_name_keeps_it(self):
        path = self.file("run.json", b"x" * 100_000)
        os.link(path, self.folder / "second")
        self.run_here("--json", "run.json")
        self.assertEqual(os.stat(path).st_nlink, 2)
        self.assertEqual(self.read_json(self.folder / "second")["submitted"], 3)

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "root writes everywhere")
    def test_json_in_a_folder_that_takes_no_new_files(self):
        path = self.file("closed/run.json", b"x" * 100_000)
        os.chmod(path, 0o666)
        os.chmod(self.folder, 0o755)
        os.chmod(self.folder / "closed", 0o555)
        self.addCleanup(os.chmod, self.folder / "closed", 0o755)
        drop = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
        run = [*drop, PROGRAM, "run", "--frames", "3", "--json"]
        done = subprocess.run([*run, path], capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.read_json(path)["submitted"], 3)
        done = subprocess.run([*run, path + "2"], capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual(done.returncode, 3)
        self.assertIn("Permission denied", done.stderr)

    def test_a_run_that_cannot_start_leaves_nothing(self):
        self.run_here("missing.onnx", "--json", "run.json", "--results", "r.jsonl", code=3)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_signal_before_the_run_leaves_nothing(self):
        os.mkfifo(self.folder / "pipe.ppm")  # opening the source waits for a writer
        process = subprocess.Popen([PROGRAM, "run", "--source", "pipe.ppm", "--json", "run.json", "--results",
                                    "r.jsonl"], cwd=self.folder, stdout=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        self.wait_until_caught(process, signal.SIGTERM)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(TIMEOUT_S), 143)
        self.assertEqual(os.listdir(self.folder), ["pipe.ppm"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
