# SPDX-License-Identifier: Apache-2.0
"""The program from outside on videos: whole, cut and damaged ones, and the data that CI has.

usage: as cli_test_support.py says
"""

import shutil
import subprocess
import sys
import unittest

from cli_test_support import DATA, Case


@unittest.skipUnless(shutil.which("ffmpeg"), "no ffmpeg to make videos with")
class Videos(Case):
    def video(self, name, *options, frames=50):
        path = self.folder / name
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-frames:v",
                        str(frames), *options, str(path)], check=True)
        return path

    def test_video_runs_to_its_end_at_its_own_rate(self):
        statistics, _ = self.run_json("--source", self.video("a.mp4"), "--policy", "block")
        self.assertEqual(statistics["completed"], 50)
        self.assertEqual(statistics["fps_wanted"], 25)
        self.assertGreaterEqual(statistics["duration_s"], 49 / 25)

    def test_video_without_its_index_cannot_be_opened(self):
        data = self.video("a.mp4").read_bytes()
        self.assert_refused(3, "half.mp4", "run", "--source", self.file("half.mp4", data[:len(data) // 2]))

    def test_frames_before_the_damage_have_outcomes(self):
        # A container that promises more than there is: the index comes first, and half of what it lists.
        data = self.video("a.mp4", "-movflags", "+faststart").read_bytes()
        results = self.folder / "r.jsonl"
        half = self.file("half.mp4", data[:len(data) // 2])
        statistics, done = self.run_json("--source", half, "--fps", 0, "--results", results, "--strict", code=1)
        self.assertTrue(0 < statistics["completed"] < 50, statistics)
        self.assertEqual(len(self.read_results(results)), statistics["submitted"])
        self.assertTrue(statistics["ended_early"])
        self.assertIn("half.mp4", done.stderr)
        self.assertIn("submitted", done.stdout)

    def test_cut_transport_stream(self):
        """This format does not say how long it is, so a cut may end it plainly; no frame before it is lost."""
        data = self.video("a.ts", "-f", "mpegts").read_bytes()
        path = self.folder / "run.json"
        done = self.run_program("run", "--source", self.file("half.ts", data[:len(data) // 2]), "--fps", 0, "--json", path)
        self.assertIn(done.returncode, (0, 1))
        self.assertGreater(self.read_json(path)["completed"], 10)


@unittest.skipUnless((DATA / "person.mp4").exists(), "no sample video here")
class RealData(Case):
    def test_cut_video(self):
        data = (DATA / "person.mp4").read_bytes()
        path = self.folder / "run.json"
        done = self.run_program("run", "--source", self.file("half.mp4", data[:len(data) // 2]), "--fps", 0, "--frames",
                                400, "--json", path)
        self.assertIn(done.returncode, (0, 1, 3), done.stderr)
        self.assertEqual(done.returncode != 3, path.exists())
        if path.exists():
            self.assertGreater(self.read_json(path)["completed"], 0)

    def test_face_detector(self):
        results = self.folder / "r.jsonl"
        statistics, _ = self.run_json(DATA / "face_rfb_320.onnx", "--source", DATA / "faces.jpg", "--mean", 127,
                                      "--scale", 128, "--results", results)
        self.assertEqual(statistics["completed"], 1)
        (line,) = self.read_results(results)
        scores = line["outputs"]["scores"]
        self.assertEqual(scores["shape"], [1, 4420, 2])
        faces = [s for s in scores["values"][1::2] if s > 0.7]
        self.assertGreater(len(faces), 5)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
