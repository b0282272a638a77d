# SPDX-License-Identifier: Apache-2.0
"""Models as people have them, from outside: their inputs, their shapes, and what is said of those that are not whole.

usage: as cli_test_support.py says
"""

import sys
import unittest

from cli_test_support import DATA, Case, field, onnx_model, onnx_node, png, ppm

CASES = DATA.parent / "cases"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def identity(dtype, dims, op="Identity"):
    return onnx_model([onnx_node(op, ["x"], ["y"])], [("x", dtype, dims)], [("y", dtype, dims)])


def tensor(dtype, dims, **fields):
    code = {"f32": 1, "u8": 2}[dtype]
    text = b"".join(field(1, d) for d in dims) + field(2, code) + field(8, fields["name"])
    for key, value in fields.get("external", {}).items():
        text += field(13, field(1, key) + field(2, value))
    return text + (field(14, 1) if "external" in fields else b"")


class Inputs(Case):
    def outputs(self, model, source, *args):
        """The outputs of each frame."""
        results = self.folder / "r.jsonl"
        self.run_json(model, "--source", source, "--fps", "0", "--results", results, "--limit", "64", *args)
        return [line["outputs"] for line in self.read_results(results)]

    def output(self, model, source, *args):
        (outputs,) = self.outputs(model, source, *args)
        (output,) = outputs.values()
        return output

    def case(self, name):
        path = CASES / name
        if not path.exists():
            self.skipTest(f"{path} is not here")
        return path

    # ---- The cases from the field

    def test_output_that_only_compiling_tells(self):
        model = self.case("models/flatten_counted.onnx")
        output = self.output(model, self.case("pictures/rgb.png"))
        self.assertEqual((output["shape"], len(output["values"])), ([7200], 7200))
        done = self.run_program("info", model)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"y" f32[7200] once compiled', done.stdout)

    def test_quantised_tflite(self):
        output = self.output(self.case("models/quant_u8.tflite"), self.case("pictures/rgb.png"))
        self.assertEqual(output["shape"], [1, 40, 60, 3])
        # Its scale is 1/128 and its zero point 128: red, green and blue of the first pixel.
        self.assertEqual(output["values"][:3], [127 / 128, -1, -1])

    def test_open_height_and_width(self):
        picture = self.case("pictures/rgb.png")
        self.assertEqual(self.output(self.case("models/u8hwc_dyn.onnx"), picture)["shape"], [40, 60, 3])
        self.assertEqual(self.output(self.case("models/if_squeeze_dyn.onnx"), picture)["shape"], [1, 3, 40, 60])
        self.assertEqual(self.run_program("info", CASES / "models/if_squeeze_dyn.onnx").returncode, 0)

    def test_fit(self):
        model, bar = self.case("models/square32.onnx"), self.case("pictures/bar.png")
        grey = [114] * 32
        boxed = self.output(model, bar, "--fit", "letterbox")["values"]
        rows = [boxed[i * 32:(i + 1) * 32] for i in range(3 * 32)]
        for channel in range(3):
            plane = rows[channel * 32:(channel + 1) * 32]
            self.assertEqual([i for i, row in enumerate(plane) if row != grey], list(range(12, 20)))
        # The identity of the bar shows its pixels, of which a crop takes the middle ones.
        pixels = self.output(CASES / "identity.onnx", bar)["values"]
        middle = [pixels[row * 128 + 48:row * 128 + 80] for row in range(3 * 32)]
        self.assertEqual(self.output(model, bar, "--fit", "crop")["values"], sum(middle, []))
        stretched = self.output(model, bar)["values"]
        self.assertEqual(self.output(model, bar, "--fit", "stretch")["values"], stretched)
        # Four columns become one: the mean of the two in the middle.
        wanted = [(row[4 * i + 1] + row[4 * i + 2]) / 2 for row in (pixels[r * 128:(r + 1) * 128] for r in range(96))
                  for i in range(32)]
        for got, want in zip(stretched, wanted):
            self.assertAlmostEqual(got, want, places=3)

    def test_missing_weights_are_named(self):
        self.assert_refused(3, "nothere.bin", "info", self.case("models/ext/missing.onnx"))
        self.assert_refused(3, "nothere.bin", "run", CASES / "models/ext/missing.onnx")

    # ---- Others of their kinds

    def test_element_types_and_layouts(self):
        source = self.file("a.ppm", ppm(2, 3, (10, 20, 30)))
        for dtype, dims, values in [("u8", [1, 3, 3, 2], [10] * 6 + [20] * 6 + [30] * 6),
                                    ("u8", [1, 3, 2, 3], [10, 20, 30] * 6),
                                    ("f32", ["n", 3, "h", "w"], [10] * 6 + [20] * 6 + [30] * 6),
                                    ("f32", [3, 3, 2], [10] * 6 + [20] * 6 + [30] * 6),
                                    ("f32", [2, 3, 3, 2], ([10] * 6 + [20] * 6 + [30] * 6) * 2),
                                    ("u8", [1, 4, 3, 2], [10] * 6 + [20] * 6 + [30] * 6 + [255] * 6),
                                    ("u8", [1, 1, 3, 2], [18] * 6),
                                    ("u8", ["h", "w"], [18] * 6)]:
            with self.subTest(dtype=dtype, dims=dims):
                model = self.file("m.onnx", identity(dtype, dims))
                self.assertEqual(self.output(model, source)["values"], values)

    def test_info_says_what_becomes_of_frames(self):
        model = self.file("m.onnx", identity("f32", [4, 3, 32, 32]))
        done = self.run_program("info", model)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the same frame in each of the 4 places of the batch", done.stdout)

    def test_inputs_that_follow_from_the_picture(self):
        nodes = [onnx_node("ReduceMean", ["x"], ["m"]), onnx_node("Add", ["m", "im_info"], ["y"])]
        model = self.file("m.onnx", onnx_model(nodes, [("x", "f32", [1, 3, 8, 6]), ("im_info", "f32", [1, 3])],
                                               [("y", "f32", [1, 1, 1, 3])]))
        source = self.file("a.ppm", ppm(6, 8, (10, 10, 10)))
        self.assertEqual(self.output(model, source)["values"], [18, 16, 11])

    def test_several_outputs(self):
        nodes = [onnx_node("Identity", ["x"], ["a"]), onnx_node("Shape", ["x"], ["b"])]
        model = self.file("m.onnx", onnx_model(nodes, [("x", "u8", ["h", "w", 3])],
                                               [("a", "u8", ["h", "w", 3]), ("b", "i64", [3])]))
        (outputs,) = self.outputs(model, self.file("a.ppm", ppm(2, 1, RED)))
        self.assertEqual(outputs["a"]["values"], [255, 0, 0] * 2)
        self.assertEqual(outputs["b"]["values"], [1, 2, 3])

    def test_input_shape(self):
        model = self.file("m.onnx", identity("f32", ["n", 3, "h", "w"]))
        source = self.file("a.ppm", ppm(2, 2, RED))
        for word in ("1,3,4,6", "x=1,3,4,6"):
            self.assertEqual(self.output(model, source, "--input-shape", word)["shape"], [1, 3, 4, 6])
        done = self.run_program("info", model, "--input-shape", "x=1,3,4,6")
        self.assertIn('"x" f32[1,3,4,6]', done.stdout)
        self.assertIn("compiled", done.stdout)
        for text, words in [("--input-shape: got 1,3,0,6, want extents", ["1,3,0,6"]),
                            ("--input-shape: got nothing", [""]), ("--input-shape: got x=1,a", ["x=1,a"]),
                            ('"x" stands twice', ["x=1,3,4,4", "x=1,3,4,4"]),
                            ("without a name", ["1,3,4,4", "x=1,3,4,4"]),
                            ("the model has no such input", ["z=1,3,4,4"]),
                            ("got [1,4,4,4], the model allows [?,3,?,?]", ["x=1,4,4,4"])]:
            with self.subTest(words=words):
                args = [arg for word in words for arg in ("--input-shape", word)]
                self.assert_refused(2, text, "run", model, "--source", source, *args)
                self.assert_refused(2, text, "info", model, *args)
        self.assert_refused(2, "--input-shape: the embedded model", "run", "--input-shape", "1,3,4,4")
        self.assert_refused(2, "--input-shape: the embedded model", "info", "--input-shape", "1,3,4,4")

    def test_options_that_say_nothing_of_the_model(self):
        source = self.file("a.ppm", ppm(2, 2, RED))
        any_size = self.file("m.onnx", identity("f32", ["n", 3, "h", "w"]))
        self.assert_refused(2, "--fit: ", "run", any_size, "--source", source, "--fit", "crop")
        self.assert_refused(2, "--fit: got pad, want stretch, letterbox or crop", "run", "--fit", "pad")
        grey = self.file("g.onnx", identity("f32", [1, 1, 4, 4]))
        self.assert_refused(2, "--color: ", "run", grey, "--source", source, "--color", "bgr")

    def test_weights_in_other_files(self):
        def model(**external):
            node = onnx_node("Add", ["x", "w"], ["y"])
            graph = onnx_model([node], [("x", "f32", [1, 3, 1, 1])], [("y", "f32", [1, 3, 1, 1])])
            whole = tensor("f32", [1, 3, 1, 1], name="w", external=external)
            # The graph is the second field: its initializer goes to its end.
            start = graph.index(b"\x3a") + 2
            length = graph[start - 1]
            inner = graph[start:start + length] + field(5, whole)
            return field(1, 8) + field(7, inner) + field(8, field(1, "") + field(2, 13))

        path = self.file("m.onnx", model(location="w.bin", offset="0", length="12"))
        source = self.file("a.ppm", ppm(1, 1, (1, 2, 3)))
        self.assert_refused(3, 'w.bin": no such file', "run", path, "--source", source)
        self.file("w.bin", b"")
        self.assert_refused(3, 'w.bin": got 0 bytes, want at least 12', "run", path, "--source", source)
        self.file("w.bin", b"\0" * 8)
        self.assert_refused(3, 'w.bin": got 8 bytes, want at least 12', "info", path)
        # Sums of what it states do not start anew at 0.
        for offset in (2**64 - 1, 2**70):
            far = self.file("far.onnx", model(location="w.bin", offset=str(offset), length="12"))
            self.assert_refused(3, f'w.bin": got 8 bytes, want at least {2**64 - 1}', "info", far)
        self.file("w.bin", b"\0\0\x80\x3f" * 3)
        self.assertEqual(self.output(path, source)["values"], [2, 3, 4])

    # ---- Sizes that change

    def test_video_changes_its_size(self):
        video = self.case("videos/resize.ts")
        results = self.folder / "r.jsonl"
        statistics, _ = self.run_json(CASES / "identity.onnx", "--source", video, "--results", results, "--fps", "0")
        lines = sorted(self.read_results(results), key=lambda line: line["frame"])
        self.assertEqual(statistics["completed"], len(lines))
        shapes = [line["outputs"]["y"]["shape"] for line in lines]
        self.assertEqual([line["frame"] for line in lines[:5]], list(range(5)))
        self.assertEqual(shapes[:5], [[1, 3, 64, 96]] * 5)
        self.assertGreater(len(shapes), 5)
        self.assertEqual(shapes[5:], [[1, 3, 96, 128]] * (len(shapes) - 5))

    def test_folder_of_sizes(self):
        folder = self.case("folders/sizes")
        outputs = self.outputs(CASES / "models/square32.onnx", folder)
        self.assertEqual([o["y"]["shape"] for o in outputs], [[1, 3, 32, 32]] * 3)

    def test_many_sizes(self):
        for i in range(20):
            self.file(f"many/{i:02}.png", png(3 + i, 30 - i, RED if i % 2 else GREEN))
        many = self.folder / "many"
        results = self.folder / "r.jsonl"
        fixed = self.file("fixed.onnx", identity("f32", [1, 4, 4, 3]))
        followed = self.file("open.onnx", identity("f32", ["n", "h", "w", 3]))
        for model, args in ((fixed, ()), (fixed, ("--fit", "crop")), (followed, ())):
            statistics, _ = self.run_json(model, "--source", many, "--results", results, "--limit", "3", *args)
            self.assertEqual((statistics["completed"], statistics["submitted"]), (20, 20))
            self.assertLessEqual(statistics["in_flight_max"], 3)
            for line in self.read_results(results):
                i = line["frame"]
                output = line["outputs"]["y"]
                self.assertEqual(output["shape"], [1, 4, 4, 3] if model == fixed else [1, 30 - i, 3 + i, 3])
                for got, want in zip(output["values"], (RED if i % 2 else GREEN) * 4):
                    self.assertAlmostEqual(got, want, places=3)

    def test_a_size_that_the_model_cannot_take(self):
        # Two rows are given off, so that a frame of fewer has nothing left: only its own outcome is a failure.
        nodes = [onnx_node("MaxPool", ["x"], ["y"])]
        pool = onnx_model([nodes[0] + field(5, field(1, "kernel_shape") + field(8, 3) + field(8, 3) + field(20, 7))],
                          [("x", "f32", [1, 3, "h", "w"])], [("y", "f32", [1, 3, "a", "b"])])
        model = self.file("pool.onnx", pool)
        for name, height in (("a", 5), ("b", 1), ("c", 5)):
            self.file(f"some/{name}.png", png(5, height, RED))
        results = self.folder / "r.jsonl"
        done = self.run_program("run", model, "--source", self.folder / "some", "--results", results)
        self.assertEqual(done.returncode, 1, done.stderr)
        outcomes = {line["source"]: line["outcome"] for line in self.read_results(results)}
        self.assertEqual(outcomes, {"a.png": "completed", "b.png": "failed", "c.png": "completed"})

    def test_quantised_to_signed_bytes(self):
        # The quantised case with i8 (9) in place of u8 (3), and other zero points.
        unsigned = self.case("models/quant_u8.tflite").read_bytes()
        picture = self.case("pictures/rgb.png")
        for zero in (-128, -1, 0, 5):
            signed = bytearray(unsigned)
            for at in (44, 291):
                self.assertEqual(signed[at], 3)
                signed[at] = 9
            at = signed.index((128).to_bytes(8, "little"))
            signed[at:at + 8] = zero.to_bytes(8, "little", signed=True)
            output = self.output(self.file("i8.tflite", bytes(signed)), picture)
            self.assertEqual(output["values"][:3], [(127 - zero) / 128, (-128 - zero) / 128, (-128 - zero) / 128])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
