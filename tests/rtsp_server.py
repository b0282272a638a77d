# SPDX-License-Identifier: Apache-2.0
"""A camera for tests: serves H.264 by RTSP over TCP, at its own pace, and misbehaves when told to.

Each frame shows its number in black and white blocks, so whoever decodes it knows when it was taken; each is a key
frame, so a lost one spoils no other. Needs the `av`
wheel and numpy.
"""

import base64
import socket
import struct
import threading
import time
from fractions import Fraction

import av
import numpy as np

BLOCK = 16
BITS_PER_ROW = 8
ROWS = 2
WIDTH, HEIGHT = BLOCK * BITS_PER_ROW, BLOCK * ROWS


def picture_of(number):
    bits = np.array([number >> i & 1 for i in range(BITS_PER_ROW * ROWS)], np.uint8).reshape(ROWS, BITS_PER_ROW)
    grey = np.kron(bits * 200 + 20, np.ones((BLOCK, BLOCK), np.uint8)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(plane):
    """The number in a frame's red plane, a list of HEIGHT * WIDTH values."""
    centre = BLOCK // 2
    number = 0
    for i in range(BITS_PER_ROW * ROWS):
        row, column = divmod(i, BITS_PER_ROW)
        number |= (plane[(row * BLOCK + centre) * WIDTH + column * BLOCK + centre] > 128) << i
    return number


class RtspServer:
    """Frame k is taken at `taken[k]` (time.monotonic()), whether anybody is connected or not.

    stall: from now on nothing is sent, for so many seconds; what is taken meanwhile is sent at once after that, where
    `keeps`, and is lost otherwise. close: ends connections, and refuses new ones for so many seconds. drop: so many
    RTP packets are left out.
    """

    def __init__(self, fps=25, user=None, password=None, keeps=False):
        self.fps, self.user, self.password, self.keeps = fps, user, password, keeps
        self.taken = {}
        self.connections = 0
        self.port = 0
        self._stall_until = self._closed_until = 0.0
        self._drop = 0
        self._clients = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._listen()
        self._codec = av.CodecContext.create("libx264", "w")
        self._codec.width, self._codec.height, self._codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        self._codec.time_base = Fraction(1, fps)
        self._codec.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "1", "bf": "0",
                               "x264-params": "repeat-headers=1"}
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._accept, self._film)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._close_all()
        if self._listener is not None:
            self._listener.close()

    def url(self):
        user = f"{self.user}:{self.password}@" if self.user else ""
        return f"rtsp://{user}127.0.0.1:{self.port}/cam"

    def stall(self, seconds):
        self._stall_until = time.monotonic() + seconds

    def close(self, seconds):
        self._closed_until = time.monotonic() + seconds
        self._close_all()

    def drop(self, packets):
        self._drop = packets

    # ---- Connections

    def _listen(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.02)
        self.port = self._listener.getsockname()[1]

    def _close_all(self):
        with self._lock:
            for client in self._clients:
                client["socket"].shutdown(socket.SHUT_RDWR)  # its thread closes it
            self._clients.clear()

    def _accept(self):
        while not self._ending.is_set():
            if time.monotonic() < self._closed_until:
                if self._listener is not None:
                    self._listener.close()
                    self._listener = None
                time.sleep(0.02)
                continue
            if self._listener is None:
                self._listen()
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = {"socket": connection, "sequence": 0}
        with connection, connection.makefile("rb") as lines:
            try:
                while self._answer(client, lines):
                    pass
            except (OSError, ValueError):
                pass
            with self._lock:
                if client in self._clients:
                    self._clients.remove(client)

    def _answer(self, client, lines):
        first = lines.readline()
        while first[:1] == b"$":  # RTCP of the client, beside the requests
            length = struct.unpack(">H", first[2:4])[0] if len(first) >= 4 else 0
            rest = first[4 + length:]
            first = rest + lines.readline()
        words = first.decode(errors="replace").split()
        if len(words) < 2:
            return bool(first)
        head = {}
        while (line := lines.readline().decode().strip()):
            name, _, value = line.partition(":")
            head[name.strip().lower()] = value.strip()
        method, extra, body, code = words[0], "", "", "200 OK"
        wanted = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and method != "OPTIONS" and head.get("authorization") != wanted:
            code, extra = "401 Unauthorized", 'WWW-Authenticate: Basic realm="cam"\r\n'
        elif method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n")
            extra = "Content-Type: application/sdp\r\n"
        elif method == "SETUP":
            if "TCP" not in head.get("transport", ""):
                code = "461 Unsupported Transport"
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            extra = "Session: 1\r\n"
        answer = f"RTSP/1.0 {code}\r\nCSeq: {head.get('cseq', '0')}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}"
        client["socket"].sendall(answer.encode())
        if method == "PLAY" and code[:3] == "200":
            with self._lock:
                self._clients.append(client)
                self.connections += 1
        return method != "TEARDOWN"

    # ---- Frames

    def _film(self):
        start = time.monotonic()
        waiting = []
        number = 0
        while not self._ending.is_set():
            time.sleep(max(0.0, start + number / self.fps - time.monotonic()))
            self.taken[number] = time.monotonic()
            frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            for packet in self._codec.encode(frame):
                waiting.append((number, bytes(packet)))
            number += 1
            if time.monotonic() < self._stall_until:
                if not self.keeps:
                    waiting.clear()
                continue
            for item in waiting:
                self._send(*item)
            waiting.clear()

    def _send(self, number, annex_b):
        units = [unit for unit in annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        payloads = []
        for unit in units:
            if len(unit) <= 1200:
                payloads.append(unit)
                continue
            pieces = [unit[1:][i:i + 1200] for i in range(0, len(unit) - 1, 1200)]
            for i, piece in enumerate(pieces):
                flags = (0x80 if i == 0 else 0) | (0x40 if i == len(pieces) - 1 else 0)
                payloads.append(bytes([unit[0] & 0xE0 | 28, flags | unit[0] & 0x1F]) + piece)
        with self._lock:
            for client in list(self._clients):
                try:
                    for i, payload in enumerate(payloads):
                        self._send_payload(client, number, payload, i == len(payloads) - 1)
                except OSError:
                    self._clients.remove(client)

    def _send_payload(self, client, number, payload, last):
        client["sequence"] = client["sequence"] + 1 & 0xFFFF
        if self._drop > 0:
            self._drop -= 1
            return
        stamp = number * 90000 // self.fps & 0xFFFFFFFF
        rtp = struct.pack(">BBHII", 0x80, (0x80 if last else 0) | 96, client["sequence"], stamp, 1) + payload
        client["socket"].sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
