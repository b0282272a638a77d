# SPDX-License-Identifier: Apache-2.0
"""The program from outside on pictures, videos and streams, made here or taken from the cases of the field.

usage: as cli_test_support.py says
The cases are looked for beside DATA_FOLDER; tests that want one skip, saying so, where it is absent.
"""

import functools
import http.server
import json
import os
import struct
import subprocess
import sys
import threading
import time
import unittest
import zlib

import av
from cli_test_support import DATA, OUTCOMES, PROGRAM, SANITIZERS, TIMEOUT_S, Case, png, ppm

CASES = DATA.parent / "cases"


def needs_case(name):
    return unittest.skipUnless((CASES / name).exists(), f"no case {name} here")


# ---- Videos and streams -------------------------------------------------------------------------------------------


class Streams(Case):
    def results_of(self, *args, code=0, lines=0):
        """The statistics, the result lines in the order of their frames, and what was said on stderr."""
        report, results = self.folder / "run.json", self.folder / "r.jsonl"
        done = self.run_program("run", *args, "--json", report, "--results", results)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), lines, done.stderr)
        return self.read_json(report), sorted(self.read_results(results), key=lambda x: x["frame"]), done.stderr

    @needs_case("videos/joined.ts")
    def test_joined_recordings_are_one(self):
        statistics, results, _ = self.results_of("--source", CASES / "videos/joined.ts", "--fps", 0)
        self.assertEqual(statistics["completed"], 20)
        self.assertEqual((statistics["frames_skipped"], statistics["ended_early"]), (0, False))
        self.assertEqual([r["pts_us"] for r in results], [k * 100000 for k in range(20)])

    @needs_case("videos/vfr.mp4")
    def test_frames_are_due_when_they_are_shown(self):
        shown = [0, 100000, 200000, 300000, 400000, 1500000, 2500000]
        statistics, results, _ = self.results_of("--source", CASES / "videos/vfr.mp4")
        self.assertEqual([r["due_us"] for r in results], shown)
        self.assertEqual([r["pts_us"] for r in results], shown)
        self.assertGreaterEqual(statistics["duration_s"], 2.5)
        # With a rate of its own, frame k is due at k / rate, whatever the stamps.
        _, results, _ = self.results_of("--source", CASES / "videos/vfr.mp4", "--fps", 50)
        self.assertEqual([r["due_us"] for r in results], [k * 20000 for k in range(7)])
        self.assertEqual([r["pts_us"] for r in results], shown)

    @needs_case("videos/vfr.mp4")
    def test_duration_and_frames_end_by_the_stamps(self):
        video = CASES / "videos/vfr.mp4"
        for args, frames in ((["--duration", 1.5], 5), (["--duration", 0.35], 4), (["--frames", 2], 2),
                             (["--duration", 0.1, "--fps", 50], 5)):
            with self.subTest(args=args):
                statistics, _, _ = self.results_of("--source", video, *args)
                self.assertEqual(statistics["completed"], frames)

    @needs_case("videos/cut.mkv")
    def test_a_cut_file_is_said_and_fails_only_strictly(self):
        video = CASES / "videos/cut.mkv"
        for args, code in (([], 0), (["--strict"], 1)):
            statistics, results, said = self.results_of("--source", video, "--fps", 0, *args, code=code, lines=1)
            self.assertEqual([r["frame"] for r in results], [0, 1, 2, 3, 4])
            self.assertEqual((statistics["frames_skipped"], statistics["ended_early"]), (0, True))
            self.assertEqual(statistics["exit_code"], code)
            self.assertIn('cut.mkv": the file ends early, after frame 4', said)

    @needs_case("videos/rot180.mp4")
    def test_frames_are_turned_as_their_file_asks(self):
        args = [CASES / "identity.onnx", "--source", CASES / "videos/rot180.mp4", "--fps", 0, "--precision", "f32"]
        _, turned, _ = self.results_of(*args)
        _, coded, _ = self.results_of(*args, "--no-rotate")
        self.assertEqual(len(turned), 10)
        for a, b in zip(turned, coded):
            (a,), (b,) = a["outputs"].values(), b["outputs"].values()
            self.assertEqual(a["shape"], [1, 3, 64, 96])
            plane = 64 * 96
            for channel in range(3):
                part = slice(channel * plane, (channel + 1) * plane)
                self.assertEqual(a["values"][part], b["values"][part][::-1])
            self.assertNotEqual(a["values"], b["values"])

    @needs_case("videos/joined.ts")
    def test_standard_input_and_file_addresses(self):
        video = CASES / "videos/joined.ts"
        path = self.folder / "run.json"
        with open(video, "rb") as file:
            for how in ({"stdin": file}, {"input": file.read()}):
                file.seek(0)
                done = subprocess.run([PROGRAM, "run", "--source", "-", "--fps", "0", "--json", path], **how,
                                      capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.read_json(path)["completed"], 20)
        statistics, _, _ = self.results_of("--source", f"file://{video.resolve()}", "--fps", 0)
        self.assertEqual(statistics["completed"], 20)

    @needs_case("videos/rot180.mp4")
    def test_an_index_behind_the_frames_does_not_come_through_a_pipe(self):
        path = self.folder / "index_last.mp4"
        with av.open(str(CASES / "videos/rot180.mp4")) as source, av.open(str(path), "w") as copy:
            stream = copy.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    copy.mux(packet)
        statistics, _, _ = self.results_of("--source", path, "--fps", 0)
        self.assertEqual(statistics["completed"], 10)
        data = path.read_bytes()
        index = data.rindex(b"moov") - 4
        filler = struct.pack(">I4s", 1 << 20, b"free") + bytes((1 << 20) - 8)  # more than is looked at before it is opened
        done = subprocess.run([PROGRAM, "run", "--source", "-"], input=data[:index] + filler + data[index:],
                              capture_output=True, timeout=60)
        self.assertIn(b"its index may come after its frames", done.stderr)

    def test_addresses_that_nobody_answers(self):
        for address in ("rtsp://me:geheim@127.0.0.1:1/x?pwd=geheim", "http://me:geheim@127.0.0.1:1/a.mp4"):
            done = self.run_program("run", "--source", address)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertNotIn("geheim", done.stderr)
            self.assertIn("Connection refused", done.stderr)
        self.assert_refused(3, "has no protocol foo", "run", "--source", "foo://x")
        self.assert_refused(3, "gives nothing for 0.5 s", "run", "--source", "udp://127.0.0.1:9", "--stall-timeout", 0.5)
        self.assert_refused(4, "/dev/video77", "run", "--source", "77")

    def test_options_that_would_be_ignored(self):
        self.assert_refused(2, "--stall-timeout: only for a live source", "run", "--source", "a.mp4", "--stall-timeout", 3)
        self.assert_refused(2, "--stall-timeout: got 0, want seconds", "run", "--source", "0", "--stall-timeout", 0)
        self.assert_refused(2, "--no-rotate: the synthetic", "run", "--no-rotate")
        self.assert_refused(2, "--strict: the synthetic", "run", "--strict")


@needs_case("identity.onnx")
class Live(Case):
    """A camera by RTSP that stalls, loses packets, goes away and comes back."""

    def test_what_is_predicted_is_never_old(self):
        try:
            from rtsp_server import HEIGHT, WIDTH, RtspServer, number_of
        except ImportError as error:
            self.skipTest(f"no RTSP server here: {error}")
        report, path = self.folder / "run.json", self.folder / "r.jsonl"
        with RtspServer(fps=25, user="me", password="geheim", keeps=True) as server:
            events = [(3, lambda: server.stall(1)), (5, lambda: server.stall(3)), (9.5, lambda: server.drop(6)),
                      (10, lambda: server.close(1))]
            program = subprocess.Popen(
                [PROGRAM, "run", CASES / "identity.onnx", "--source", server.url(), "--duration", "14",
                 "--stall-timeout", "2", "--json", report, "--results", path], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            start = time.monotonic()
            text, ages, numbers = "", [], []
            while program.poll() is None:
                while events and time.monotonic() - start > events[0][0]:
                    events.pop(0)[1]()
                if path.exists():
                    with open(path) as file:
                        file.seek(len(text))
                        text += file.read()
                now = time.monotonic()
                *whole, _ = text[sum(n for n, _ in numbers):].split("\n")
                for line in whole:
                    result = json.loads(line)
                    numbers.append((len(line) + 1, result["frame"]))
                    if result["outcome"] == "completed":
                        (output,) = result["outputs"].values()
                        ages.append(now - server.taken[number_of(output["values"][:WIDTH * HEIGHT])])
                time.sleep(0.002)
            said, connections = program.communicate(), server.connections
        self.assertEqual(program.returncode, 0, said)
        self.assertNotIn("geheim", "".join(said) + text + report.read_text())
        statistics = self.read_json(report)
        self.assertEqual(connections, 3, said)  # after the long stall, and after the camera was away
        self.assertIn("the connection was lost 2 times", said[1])
        self.assertGreater(statistics["completed"], 100)
        # Every frame has its outcome, and their numbers go on.
        frames = sorted(json.loads(line)["frame"] for line in text.splitlines())
        self.assertEqual(len(frames), statistics["submitted"])
        self.assertEqual(len(set(frames)), len(frames))
        # Two frames, and what a busy machine takes for reading a file; a machine that is held up delays a few. Frames
        # that the camera kept while it stalled are 1 to 3 s old.
        ages.sort()
        self.assertLess(ages[int(len(ages) * 0.95)], 0.08 + (1 if SANITIZERS else 0.4), ages[-20:])


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

    def test_redirected_to_standard_input(self):
        path = self.file("turned.png", png_file(2, 1, 8, 0, [b"\1\2"], (b"eXIf", exif(6))))
        results = self.folder / "results.jsonl"
        with open(path, "rb") as picture:
            done = subprocess.run([PROGRAM, "run", IDENTITY, "--source", "-", "--results", results], stdin=picture,
                                  capture_output=True, text=True, timeout=TIMEOUT_S)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        (line,) = self.read_results(results)
        (output,) = line["outputs"].values()
        self.assertEqual(output["shape"], [1, 3, 2, 1])

    def piped(self, data):
        """The pixels of what comes through a pipe, or the error."""
        results = self.folder / "piped.jsonl"
        done = subprocess.run([PROGRAM, "run", IDENTITY, "--source", "-", "--fps", "0", "--policy", "block",
                               "--results", results], input=data, capture_output=True, timeout=TIMEOUT_S)
        if done.returncode != 0:
            return done.stderr.decode()
        lines = sorted(self.read_results(results), key=lambda line: line["frame"])
        return [next(iter(line["outputs"].values())) for line in lines]

    def test_through_a_pipe(self):
        turned = png_file(2, 1, 8, 0, [b"\1\2"], (b"eXIf", exif(6)))
        (output,) = self.piped(turned)
        self.assertEqual(output["shape"], [1, 3, 2, 1])
        (output,) = self.piped(turned + b"left by another program")
        self.assertEqual(output["shape"], [1, 3, 2, 1])
        self.assertIn('picture "-": is damaged', self.piped(turned[:-20]))
        # Pictures one after another are a video.
        frames = self.piped(b"".join(png(3, 2, (10 * i, 0, 0)) for i in range(5)))
        self.assertEqual([frame["values"][0] for frame in frames], [0, 10, 20, 30, 40])
        # So large that it does not come at once.
        (output,) = self.piped(ppm(700, 500, (7, 8, 9)))
        self.assertEqual(output["shape"], [1, 3, 500, 700])

    def test_through_http(self):
        turned = png_file(2, 1, 8, 0, [b"\1\2"], (b"eXIf", exif(6)))
        self.file("turned.png", turned + b"left by another program")

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        handler = functools.partial(Quiet, directory=str(self.folder))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            height, width, rows = self.pixels(f"http://127.0.0.1:{server.server_port}/turned.png?size=full")
            server.shutdown()
        self.assertEqual((height, width), (2, 1))
        self.assertEqual([row[0][0] for row in rows], [1, 2])
        height, width, _ = self.pixels(f"file://{self.folder}/turned.png")
        self.assertEqual((height, width), (2, 1))

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
