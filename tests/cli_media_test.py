# SPDX-License-Identifier: Apache-2.0
"""The program from outside on pictures, videos and streams, made here or taken from the cases of the field.

usage: cli_media_test.py PROGRAM MODELS_FOLDER DATA_FOLDER SANITIZERS [unittest arguments]
The cases are looked for beside DATA_FOLDER; tests that want one skip, saying so, where it is absent.
"""

import json
import os
import struct
import sys
import unittest
import zlib

from cli_test_support import DATA, OUTCOMES, Case, png, ppm

CASES = DATA.parent / "cases"


def needs_case(name):
    return unittest.skipUnless((CASES / name).exists(), f"no case {name} here")


# ---- Videos and streams -------------------------------------------------------------------------------------------


class Streams(Case):
    @needs_case("videos/joined.ts")
    def test_joined_recordings_are_one(self):
        statistics, _ = self.run_json("--source", CASES / "videos/joined.ts", "--fps", 0)
        self.assertEqual(statistics["completed"], 20)


# ---- Pictures and folders -----------------------------------------------------------------------------------------


def png_file(width, height, depth, color, rows, *chunks):
    """A PNG of these rows (bytes, without the filter's); `chunks` are (type, data), before the pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*c) for c in chunks)
            + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def exif(orientation):
    return b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)


def cmyk_jpeg(inks):
    """8x8 pixels of one colour, as Adobe's programs write them: four components, of which only the averages are coded."""

    def segment(marker, data):
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    bits = ""
    for ink in inks:
        difference = ink - 128  # of an average times 8, divided by the 8 of the table
        size = abs(difference).bit_length()
        low = difference if difference > 0 else difference + (1 << size) - 1
        bits += f"{size:04b}" + (f"{low:0{size}b}" if size else "") + "0"  # the last: no more of this block
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    averages = bytes([0]) + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))
    frame = struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(1, 5))
    scan = b"\4" + b"".join(bytes([i, 0]) for i in range(1, 5)) + b"\0\x3f\0"
    return (b"\xff\xd8" + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + segment(0xDB, b"\0" + b"\x08" * 64)
            + segment(0xC0, frame) + segment(0xC4, averages)
            + segment(0xC4, b"\x10\1" + bytes(15) + b"\0") + segment(0xDA, scan) + data + b"\xff\xd9")


IDENTITY = CASES / "identity.onnx"


@needs_case("identity.onnx")
class Pictures(Case):
    def results(self, source, *args, code=0):
        path = self.folder / "results.jsonl"
        done = self.run_program("run", IDENTITY, "--source", source, "--policy", "block", "--results", path,
                                "--json", self.folder / "run.json", *args)
        self.assertEqual(done.returncode, code, done.stderr)
        lines = sorted(self.read_results(path), key=lambda line: line["frame"])
        return lines, done

    def pixels(self, source, *args):
        """The one picture of a source: its size, and rows of (red, green, blue)."""
        (line,), done = self.results(source, *args)
        self.assertEqual(done.stderr, "")
        (output,) = line["outputs"].values()
        _, _, height, width = output["shape"]
        red, green, blue = (output["values"][i * height * width:(i + 1) * height * width] for i in range(3))
        return height, width, [list(zip(red, green, blue))[y * width:(y + 1) * width] for y in range(height)]

    def assert_red_mark(self, rows, y, x):
        """In JPEG a corner is red where the others are not."""
        for corner_y in (0, -1):
            for corner_x in (0, -1):
                red, green, blue = rows[corner_y][corner_x]
                marked = red > 200 and green < 60 and blue < 60
                self.assertEqual(marked, (corner_y, corner_x) == (y, x), (corner_y, corner_x, red, green, blue))

    @needs_case("pictures/exif6.jpg")
    def test_exif_orientation(self):
        height, width, rows = self.pixels(CASES / "pictures/exif6.jpg")
        self.assertEqual((height, width), (60, 40))
        self.assert_red_mark(rows, 0, -1)
        height, width, rows = self.pixels(CASES / "pictures/exif3.jpg")
        self.assertEqual((height, width), (40, 60))
        self.assert_red_mark(rows, -1, -1)
        height, width, rows = self.pixels(CASES / "pictures/exif6.jpg", "--no-rotate")
        self.assertEqual((height, width), (40, 60))
        self.assert_red_mark(rows, 0, 0)

    def test_all_eight_orientations(self):
        # Coded: 1 2 3 over 4 5 6. Worked out by hand from EXIF's table.
        coded = [bytes([r, 0, 0, r + 1, 0, 0, r + 2, 0, 0]) for r in (1, 4)]
        shown = {1: [[1, 2, 3], [4, 5, 6]], 2: [[3, 2, 1], [6, 5, 4]], 3: [[6, 5, 4], [3, 2, 1]],
                 4: [[4, 5, 6], [1, 2, 3]], 5: [[1, 4], [2, 5], [3, 6]], 6: [[4, 1], [5, 2], [6, 3]],
                 7: [[6, 3], [5, 2], [4, 1]], 8: [[3, 6], [2, 5], [1, 4]], 9: [[1, 2, 3], [4, 5, 6]]}
        for orientation, want in shown.items():
            with self.subTest(orientation=orientation):
                path = self.file("turned.png", png_file(3, 2, 8, 2, coded, (b"eXIf", exif(orientation))))
                _, _, rows = self.pixels(path)
                self.assertEqual([[pixel[0] for pixel in row] for row in rows], want)

    def test_kinds_of_png(self):
        grey, red, half = (100, 100, 100), (200, 10, 20), (128, 128, 128)
        for name, data, want in [
            ("grey", png_file(2, 1, 8, 0, [b"\x64\x64"]), [grey, grey]),
            ("grey of 16 bits", png_file(2, 1, 16, 0, [b"\x80\x80" * 2]), [half, half]),
            ("colour of 16 bits", png_file(1, 1, 16, 2, [b"\xc8\xc8\x0a\x0a\x14\x14"]), [red]),
            ("palette", png_file(2, 1, 8, 3, [b"\1\0"], (b"PLTE", bytes(grey) + bytes(red))), [red, grey]),
            ("palette of 1 bit", png_file(2, 1, 1, 3, [b"\x40"], (b"PLTE", bytes(grey) + bytes(red))), [grey, red]),
            ("see-through palette", png_file(1, 1, 8, 3, [b"\1"], (b"PLTE", bytes(grey) + bytes(red)),
                                             (b"tRNS", b"\0\0")), [red]),
            ("alpha", png_file(1, 1, 8, 6, [bytes(red) + b"\x80"]), [red]),
            ("grey and alpha", png_file(1, 1, 8, 4, [b"\x64\x80"]), [grey]),
            ("black and white", png_file(2, 1, 1, 0, [b"\x40"]), [(0, 0, 0), (255, 255, 255)]),
        ]:
            with self.subTest(kind=name):
                _, _, rows = self.pixels(self.file("kind.png", data))
                # libswscale rounds 16 bits to either side.
                near = 1 if "16" in name else 0
                self.assertEqual([len(row) for row in rows], [len(want)])
                for got, right in zip(rows[0], want):
                    self.assertLessEqual(max(abs(a - b) for a, b in zip(got, right)), near, got)

    def test_cmyk_jpeg(self):
        # Adobe stores them inverted, so each colour is its ink's number times black's.
        for inks, want in [((200, 100, 50, 255), (200, 100, 50)), ((200, 100, 50, 128), (100, 50, 25))]:
            with self.subTest(inks=inks):
                _, _, rows = self.pixels(self.file("cmyk.jpg", cmyk_jpeg(inks)))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(rows[4][4], want)), 1, rows[4][4])

    def test_a_hint_is_not_damage(self):
        want = [[(9, 8, 7)] * 3] * 2
        whole = png(3, 2, (9, 8, 7))
        wrong_crc = whole[:33] + b"\0\0\0\1tEXtxNOPE" + whole[33:]
        for name, data in [("trailing", whole + b"left by another program"), ("twice", whole + whole),
                           ("wrong crc of a text", wrong_crc)]:
            with self.subTest(hint=name):
                self.assertEqual(self.pixels(self.file("hint.png", data))[2], want)

    @needs_case("pictures/t_res.tif")
    def test_cases_of_hints(self):
        want = self.pixels(CASES / "pictures/rgb.png")
        self.assertEqual(self.pixels(CASES / "pictures/p_trailing.png"), want)
        for name in ("t_res.tif", "t_by_ffmpeg.tif"):
            self.assertEqual(self.pixels(CASES / "pictures" / name)[:2], (40, 60))

    def test_damage_is_refused(self):
        whole = png(200, 150, (9, 8, 7))
        broken = bytearray(whole)
        broken[-30] ^= 1  # in the compressed pixels
        for name, data in [("cut", whole[:-20]), ("broken", bytes(broken)), ("empty", b""), ("text", b"no picture\n")]:
            with self.subTest(damage=name):
                path = self.file(f"{name}.png", data)
                self.assert_refused(3, f'picture "{path}": is ', "run", IDENTITY, "--source", path)

    @needs_case("pictures/anim.webp")
    def test_animated_webp(self):
        path = CASES / "pictures/anim.webp"
        self.assert_refused(3, "animated WebP, which is not supported", "run", IDENTITY, "--source", path)

    @needs_case("folders/kinds")
    def test_folders_of_cases(self):
        lines, done = self.results(CASES / "folders/kinds")
        self.assertEqual([line["source"] for line in lines],
                         ["a.png", "b.gif", "c.avif", "d.jfif", "e.tga", "f.jp2", "g.pgm"])
        self.assertEqual({line["outcome"] for line in lines}, {"completed"})
        self.assertEqual(done.stderr, "")
        lines, done = self.results(CASES / "folders/mac")
        self.assertEqual([line["source"] for line in lines], ["a.jpg", "b.jpg"])
        self.assertEqual(done.stderr, "")

    @needs_case("folders/bad")
    def test_a_bad_picture_is_one_failed_outcome(self):
        lines, done = self.results(CASES / "folders/bad", code=1)
        self.assertEqual([(line["source"], line["outcome"]) for line in lines],
                         [("1.jpg", "completed"), ("2.jpg", "failed"), ("3.jpg", "completed"), ("4.jpg", "completed")])
        self.assertIn("2.jpg", lines[1]["error"])
        (line,) = done.stderr.splitlines()
        self.assertIn('2.jpg": is damaged', line)

    def folder_of(self, **files):
        for name, data in files.items():
            self.file("pictures/" + name.replace("_", "."), data)
        return self.folder / "pictures"

    def test_bad_pictures_in_every_place(self):
        good = png(3, 2, (9, 8, 7))
        for bad in ("1", "2", "3", "12", "13", "23"):
            with self.subTest(bad=bad):
                folder = self.folder_of(**{f"{i}_png": good[:-20] if i in bad else good for i in "123"})
                lines, done = self.results(folder, code=1)
                self.assertEqual([line["outcome"] for line in lines],
                                 ["failed" if i in bad else "completed" for i in "123"])
                (line,) = done.stderr.splitlines()
                self.assertIn(f'{bad[0]}.png": is damaged', line)
                if len(bad) > 1:
                    self.assertIn("2 pictures cannot be read; the first", line)
                statistics = self.read_statistics(len(bad))
                self.assertEqual(statistics["submitted"], 3)
                self.assertEqual(statistics["failed"], len(bad))
                self.assertIn(f"{bad[0]}.png", statistics["error"])
        folder = self.folder_of(**{f"{i}_png": good[:-20] for i in "123"})
        self.assert_refused(3, "none of its 3 pictures can be read", "run", IDENTITY, "--source", folder)

    def read_statistics(self, damaged):
        statistics = json.loads((self.folder / "run.json").read_text())
        self.assertEqual(statistics["submitted"], sum(statistics[outcome] for outcome in OUTCOMES))
        # What came without a picture never started: it has no width.
        self.assertEqual(sum(statistics["width"].values()), statistics["submitted"] - damaged)
        return statistics

    def test_natural_order_and_what_is_passed_over(self):
        good = png(3, 2, (9, 8, 7))
        folder = self.folder_of(a10_png=good, a9_png=good, a009_png=good, A1_png=good, __a_png=good, notes_txt=b"none")
        self.file("pictures/more/b.png", good)
        (folder / "link.png").symlink_to("a9.png")
        lines, done = self.results(folder)
        self.assertEqual([line["source"] for line in lines], ["A1.png", "a9.png", "a009.png", "a10.png", "link.png"])
        (line,) = done.stderr.splitlines()
        self.assertTrue(line.endswith(": passed over, as no pictures: more/ and notes.txt"), line)

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_an_unreadable_picture_is_one_failed_outcome(self):
        folder = self.folder_of(a_ppm=ppm(3, 2, (1, 2, 3)), b_ppm=ppm(3, 2, (1, 2, 3)))
        (folder / "b.ppm").chmod(0)
        lines, done = self.results(folder, code=1)
        self.assertEqual([line["outcome"] for line in lines], ["completed", "failed"])
        self.assertIn("Permission denied", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
