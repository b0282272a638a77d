# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for the harnesses into FOLDER/NAME/: small files of the usual kinds, and those of ../shared/cases.

usage: make_seeds.py FOLDER [CASES]
"""

import contextlib
import fractions
import itertools
import pathlib
import sys

import av
import numpy as np

SIZE_MAX = 64 << 10

# Container, encoder, options, pixel format.
VIDEOS = [
    ("mp4", "libx264", {"bf": "2"}, "yuv420p"),
    ("mp4", "libx265", {"x265-params": "log-level=none:bframes=1"}, "yuv420p"),
    ("mov", "mpeg4", {}, "yuv420p"),
    ("mkv", "libx264", {"bf": "0"}, "yuv420p"),
    ("mkv", "ffv1", {}, "yuv420p"),
    ("ts", "mpeg2video", {"bf": "1"}, "yuv420p"),
    ("ts", "libx264", {}, "yuv420p"),
    ("avi", "mpeg4", {}, "yuv420p"),
    ("avi", "mjpeg", {}, "yuvj420p"),
    ("avi", "rawvideo", {}, "yuv420p"),
    ("flv", "flv", {}, "yuv420p"),
    ("flv", "libx264", {}, "yuv420p"),
    ("webm", "libvpx", {}, "yuv420p"),
    ("webm", "libvpx-vp9", {}, "yuv420p"),
    ("webm", "libsvtav1", {"preset": "12"}, "yuv420p"),
    ("gif", "gif", {}, "rgb8"),
    ("mjpeg", "mjpeg", {}, "yuvj420p"),
    ("apng", "apng", {}, "rgb24"),
    ("ogv", "libtheora", {}, "yuv420p"),
    ("wmv", "wmv2", {}, "yuv420p"),
    ("y4m", "wrapped_avframe", {}, "yuv420p"),
    ("h264", "libx264", {}, "yuv420p"),
    ("m2v", "mpeg2video", {}, "yuv420p"),
    ("mxf", "mpeg2video", {}, "yuv420p"),
    ("nut", "mpeg4", {}, "yuv420p"),
    ("ivf", "libvpx", {}, "yuv420p"),
]
PICTURES = [
    ("jpg", "mjpeg", {}, "yuvj420p"),
    ("png", "png", {}, "rgb24"),
    ("png", "png", {}, "rgba"),
    ("tif", "tiff", {}, "rgb24"),
    ("tif", "tiff", {"compression_algo": "lzw"}, "gray"),
    ("webp", "libwebp", {"lossless": "1"}, "bgra"),
    ("webp", "libwebp", {}, "yuv420p"),
    ("bmp", "bmp", {}, "bgr24"),
    ("tga", "targa", {}, "bgr24"),
    ("pgm", "pgm", {}, "gray"),
    ("ppm", "ppm", {}, "rgb24"),
    ("jp2", "jpeg2000", {}, "rgb24"),
    ("xbm", "xbm", {}, "monowhite"),
    ("exr", "exr", {}, "gbrpf32le"),
    ("sgi", "sgi", {}, "rgb24"),
    ("pcx", "pcx", {}, "rgb24"),
    ("ras", "sunrast", {}, "rgb24"),
    ("qoi", "qoi", {}, "rgb24"),
    ("gif", "gif", {}, "rgb8"),
    ("avif", "libsvtav1", {"preset": "12"}, "yuv420p"),
]
# In the order of the harnesses.
SOURCE_ENDINGS = ["", "mp4", "mkv", "ts", "avi", "flv", "webm", "gif", "mjpeg", "mov", "m2v", "ogv", "wmv", "y4m", "h264",
                  "png"]
PICTURE_ENDINGS = ["", "jpg", "png", "tif", "webp", "avif", "gif", "bmp", "tga", "pgm", "jp2", "ico", "heic", "xpm",
                   "exr", "psd", "jxl", "qoi", "pcx", "xbm"]
# 8x8 pixels of red, by FFmpeg's libjxl, which PyAV's wheel lacks.
JXL = bytes.fromhex("ff0a41060012880200d4005de5120000152aa38c1bbc9cebf9f24387c5b48deb0c6db56d6149a2c8383649277048128bc0c605780303"
                    "803173d6000f94a89204")
WORDS = [
    "run\nmodel.onnx\n--source\na.mp4\n--fps\n30\n--limit\n4\n--policy\nblock\n--deadline-ms\n40.5",
    "run\n--source=synthetic\n--seed=7\n--duration\n1e-3\n--frames\n12\n--width\nwide\n--precision\nbf16",
    "run\nm.onnx\n--results\nr.jsonl\n--json\ns.json\n--task\ndetect\n--head\nssd\n--score\n0.5\n--iou\n.4\n--labels\nl",
    "run\nm\n--mean\n1,2,3\n--scale\n-0.5\n--color\nbgr\n--fit\nletterbox\n--input-shape\nx=1,3,4,5\n--input-shape\n[1,2]",
    "run\n--source\nrtsp://u:p@h/c\n--stall-timeout\n2\n--no-rotate\n--strict\n--output\no.mp4\n--top\n3\n--device\ncuda:1",
    "info\nm.onnx\n--device\ncpu\n--precision\nf16\n--input-shape\n1,3,32,32",
    "--help", "run\n--help", "--version", "info\nrun", "run\n--\n-x",
]


def picture(index: int, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4 + index * 9, columns * 4, rows + columns + index * 30], 2).astype(np.uint8)


def write_video(path: pathlib.Path, form: str, codec: str, options: dict[str, str], pixels: str, frames: int) -> None:
    names = {"mkv": "matroska", "ts": "mpegts", "ogv": "ogg", "wmv": "asf", "y4m": "yuv4mpegpipe", "m2v": "mpeg2video"}
    with av.open(str(path), "w", format=names.get(form, form)) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, 48, 64), format="rgb24").reformat(format=pixels)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_picture(path: pathlib.Path, form: str, codec: str, options: dict[str, str], pixels: str) -> None:
    if form in ("gif", "avif"):
        write_video(path, form, codec, options, pixels, 1)
        return
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 24, 16, pixels, fractions.Fraction(1, 25)
    encoder.options = options
    frame = av.VideoFrame.from_ndarray(picture(0, 16, 24), format="rgb24").reformat(format=pixels)
    path.write_bytes(b"".join(bytes(packet) for packet in itertools.chain(encoder.encode(frame), encoder.encode(None))))


def boxed_jxl() -> bytes:
    """In boxes, the codestream in two pieces."""
    boxes = [(b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl "), (b"jxlp", b"\0\0\0\0" + JXL[:20]),
             (b"jxlp", b"\x80\0\0\1" + JXL[20:])]
    return b"".join((8 + len(body)).to_bytes(4, "big") + kind + body for kind, body in boxes)


def with_choice(path: pathlib.Path, endings: list[str], to: pathlib.Path) -> None:
    """A copy with the byte at its end by which the harness chooses the ending."""
    ending = path.suffix.lstrip(".")
    content = path.read_bytes()
    if 0 < len(content) <= SIZE_MAX:
        to.write_bytes(content + bytes([endings.index(ending) if ending in endings else 0]))


def main(folder: pathlib.Path, cases: pathlib.Path | None) -> None:
    av.logging.set_level(None)
    raw = folder / "raw"
    for name in ("raw", "sources", "pictures", "models", "options", "addresses"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for form, codec, options, pixels in VIDEOS:
        path = raw / f"{codec}_{pixels}.{form}"
        with contextlib.suppress(av.error.FFmpegError, ValueError):  # not every build has every encoder
            write_video(path, form, codec, options, pixels, 5)
            with_choice(path, SOURCE_ENDINGS, folder / "sources" / path.name)
    for form, codec, options, pixels in PICTURES:
        path = raw / f"{codec}_{pixels}_picture.{form}"
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            write_picture(path, form, codec, options, pixels)
            with_choice(path, PICTURE_ENDINGS, folder / "pictures" / path.name)
    for name, content in (("naked.jxl", JXL), ("boxed.jxl", boxed_jxl())):
        (raw / name).write_bytes(content)
        with_choice(raw / name, PICTURE_ENDINGS, folder / "pictures" / name)
    for number, words in enumerate(WORDS):
        (folder / "options" / str(number)).write_text(words)
    # The options in the order of options.cc, each with a value.
    values = ["m", "a", "30", "8", "block", "cpu", "f32", "wide", "rgb", "1,2,3", "1", "9", "1.5", "40", "7", "5", "j", "r",
              "crop", "o", "detect", "ssd", "5", "l", "0.5", "0.4", "x=1,3", "", ""]
    for number, value in enumerate(values):
        (folder / "options" / f"direct{number}").write_bytes(b"\x01" + bytes([number]) + value.encode())
    for number, address in enumerate(["rtsp://u:p@h:554/c?a=b&pwd=x", "file://localhost/a%20b", "http://[::1]/x;y#z"]):
        (folder / "addresses" / str(number)).write_bytes(b"\0" + address.encode())
        (folder / "addresses" / f"made{number}").write_bytes(bytes([1, number, number, 97, 0, 98, 0, 99, 0, 1, 120]))
    if cases is None or not cases.is_dir():
        print("make_seeds: no cases", file=sys.stderr)
        return
    for path in sorted(each for each in cases.rglob("*") if each.is_file()):
        name = "_".join(path.relative_to(cases).parts)
        if path.suffix in (".onnx", ".tflite"):
            (folder / "models" / name).write_bytes(path.read_bytes() + b"\0")
        elif path.parent.name == "videos":
            with_choice(path, SOURCE_ENDINGS, folder / "sources" / name)
        elif path.suffix != ".md":
            with_choice(path, PICTURE_ENDINGS, folder / "pictures" / name)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None)
