# SPDX-License-Identifier: Apache-2.0
"""The program and its shell: signals, descriptors that are closed, full or broken, and terminals.

usage: as cli_test_support.py says
"""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
import unittest
from pathlib import Path

from cli_test_support import END_S, PROGRAM, TIMEOUT_S, Case

FULL = unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")


def fill(descriptor):
    """Writes into a pipe or a terminal until it takes no more, also later: a terminal moves text on by and by."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    for _ in range(5):
        try:
            while os.write(descriptor, b"." * 1024):
                pass
        except BlockingIOError:
            time.sleep(0.05)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


class ShellCase(Case):
    def setUp(self):
        super().setUp()
        self.json, self.results = self.folder / "run.json", self.folder / "r.jsonl"

    def start(self, *args, **options):
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen([PROGRAM, *map(str, args)], text=True, **options)
        self.addCleanup(process.kill)
        return process

    def start_run(self, *args, **options):
        """Starts a run of ten minutes and returns when results have been written."""
        process = self.start("run", "--duration", 600, "--json", self.json, "--results", self.results, *args, **options)
        self.wait_for(lambda: self.results.exists() and self.results.stat().st_size > 0)
        return process

    def wait_until_full(self, reader):
        """Waits until the program has filled the pipe: what it holds is much, and has not changed for half a second."""
        held, much = [], fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) // 2

        def full():
            held.append(int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder))
            return held[-1] > much and len(held) > 50 and len(set(held[-50:])) == 1

        self.wait_for(full)

    def ends_soon(self, process, code, since):
        _, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, code, err)
        self.assertLess(time.monotonic() - since, END_S)
        return err

    def stop(self, process, number=signal.SIGINT):
        since = time.monotonic()
        process.send_signal(number)
        return self.ends_soon(process, 128 + number, since)

    def shell(self, command, *args):
        """Runs the program by `sh`, where "$@" stands for it."""
        return subprocess.run(["sh", "-c", command, "sh", PROGRAM, *map(str, args)], capture_output=True, text=True,
                              timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, cwd=self.folder)

    def assert_one_line(self, text, err):
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertTrue(err.startswith("inflight: "), err)
        self.assertIn(text, err)


# ---- Signals ------------------------------------------------------------------------------------------------------


class Shell(ShellCase):
    def test_each_signal_closes_the_books(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number=number):
                self.results.unlink(missing_ok=True)
                self.assertEqual(self.stop(self.start_run(), number), "")
                statistics = self.read_json(self.json)
                self.assertEqual(statistics["exit_code"], 128 + number)
                self.assertEqual(len(self.read_results(self.results)), statistics["submitted"])

    def test_a_second_signal_at_once_does_not_count(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(second=second):
                self.results.unlink(missing_ok=True)
                process = self.start_run()
                since = time.monotonic()
                process.send_signal(signal.SIGTERM)
                process.send_signal(second)
                time.sleep(0.002)
                process.send_signal(second)
                # Which of two that are pending is delivered first is the kernel's choice.
                _, err = process.communicate(timeout=TIMEOUT_S)
                self.assertIn(process.returncode, (128 + signal.SIGTERM, 128 + second), err)
                self.assertLess(time.monotonic() - since, END_S)
                self.assertEqual(len(self.read_results(self.results)), self.read_json(self.json)["submitted"])

    @unittest.skipUnless(shutil.which("timeout"), "no timeout(1)")
    def test_timeout(self):
        """timeout(1) signals the program and, microseconds later, the group that it belongs to: also when it is itself
        told to end, which does not depend on how long the program takes to start."""
        process = subprocess.Popen(["timeout", "600", PROGRAM, "run", "--duration", "600", "--json", self.json,
                                    "--results", self.results], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True)
        self.addCleanup(process.terminate)
        self.wait_for(lambda: self.results.exists() and self.results.stat().st_size > 0)
        since = time.monotonic()
        process.terminate()
        self.assertEqual(self.ends_soon(process, 143, since), "")
        statistics = self.read_json(self.json)
        self.assertEqual(statistics["exit_code"], 143)
        self.assertEqual(len(self.read_results(self.results)), statistics["submitted"])

    def test_a_later_second_signal_ends_at_once(self):
        reader, writer = os.pipe()  # nobody reads, so the first signal alone takes a second
        self.addCleanup(os.close, reader)
        process = self.start("run", "--fps", 0, "--json", self.json, "--results", f"/dev/fd/{writer}",
                             pass_fds=[writer])
        os.close(writer)
        self.wait_until_full(reader)
        process.send_signal(signal.SIGINT)
        time.sleep(0.4)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
        self.assertEqual(process.returncode, 143)  # by the first signal alone: 130, and the file is there
        self.assertFalse(self.json.exists())
        process.stderr.close()

    def test_ignored_signals_stay_ignored(self):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                self.results.unlink(missing_ok=True)
                process = self.start_run("--duration", 2, preexec_fn=lambda n=number: signal.signal(n, signal.SIG_IGN))
                process.send_signal(number)
                self.assertEqual(process.communicate(timeout=TIMEOUT_S)[1], "")
                self.assertEqual(process.returncode, 0)

    def test_quit_is_left_alone(self):
        process = self.start_run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        process.send_signal(signal.SIGQUIT)
        process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, -signal.SIGQUIT)

    # ---- Readers that have stopped --------------------------------------------------------------------------------

    def test_the_reader_of_results_stops(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        process = self.start("run", "--fps", 0, "--duration", 600, "--json", self.json, "--results", "/dev/stdout",
                             stdout=writer)
        os.close(writer)
        self.wait_until_full(reader)
        self.assert_one_line("its reader has stopped reading", self.stop(process).splitlines(True)[0])
        self.assertGreater(self.read_json(self.json)["completed"], 0)

    def test_the_reader_of_a_named_pipe_stops(self):
        os.mkfifo(self.results)
        process = self.start("run", "--fps", 0, "--duration", 600, "--json", self.json, "--results", self.results)
        with open(self.results, "rb", buffering=0) as reader:
            reader.read(1)
            self.wait_until_full(reader)
            self.assert_one_line(f'--results: cannot write "{self.results}": its reader has stopped',
                                 self.stop(process))
        self.assertGreater(self.read_json(self.json)["completed"], 0)

    def test_the_reader_of_the_output_stops(self):
        for policy in ("reject", "block"):
            with self.subTest(policy=policy):
                pipe = self.folder / f"{policy}.mkv"
                os.mkfifo(pipe)
                process = self.start("run", "--duration", 600, "--policy", policy, "--json", self.json, "--output", pipe)
                with open(pipe, "rb", buffering=0) as reader:
                    reader.read(1)
                    self.wait_until_full(reader)
                    self.assert_one_line(f'--output: cannot write "{pipe}": its reader has stopped', self.stop(process))
                self.assertGreater(self.read_json(self.json)["completed"], 0)

    def test_a_named_pipe_without_a_reader(self):
        for option in ("--json", "--results"):
            with self.subTest(option=option):
                pipe = self.folder / f"pipe{option}"
                os.mkfifo(pipe)
                process = self.start("run", "--frames", 3, option, pipe)
                self.wait_until_caught(process, signal.SIGINT)
                time.sleep(0.5)
                self.assertIsNone(process.poll())
                self.assertEqual(self.stop(process), "")
                process = self.start("run", "--frames", 3, option, pipe)
                time.sleep(0.3)
                self.assertEqual(len(Path(pipe).read_bytes().splitlines()) > 0, True)
                self.assertEqual(process.communicate(timeout=TIMEOUT_S)[1], "")
                self.assertEqual(process.returncode, 0)

    def test_the_reader_of_stdout_stops(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fill(writer)
        process = self.start_run(stdout=writer)
        os.close(writer)
        time.sleep(1.5)  # until the first line of progress has been tried
        self.assert_one_line("standard output: its reader has stopped reading", self.stop(process))
        self.assertEqual(len(self.read_results(self.results)), self.read_json(self.json)["submitted"])

    def test_a_signal_after_the_last_frame(self):
        """All that is left to do is to print, and nobody reads."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fill(writer)
        process = self.start_run("--frames", 3, stdout=writer)
        os.close(writer)
        self.wait_for(lambda: self.results.read_text().count("\n") == 3)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        self.assert_one_line("standard output: its reader has stopped reading", self.stop(process))
        statistics = self.read_json(self.json)
        self.assertEqual((statistics["completed"], statistics["exit_code"]), (3, 130))

    def test_the_source_blocks_in_a_read(self):
        """Frames of a video from a pipe whose writer then falls silent."""
        pipe = self.folder / "pipe.y4m"
        os.mkfifo(pipe)
        video = b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + bytes(64 * 48 * 3 // 2)) * 400
        process = self.start("run", "--source", pipe, "--fps", 0, "--json", self.json, "--results", self.results)
        with open(pipe, "wb", buffering=0) as writer:
            sender = threading.Thread(target=writer.write, args=(video,))
            sender.start()
            sender.join(TIMEOUT_S)
            self.wait_for(lambda: self.results.exists() and self.results.stat().st_size > 0)
            self.assertEqual(self.stop(process), "")
        self.assertGreater(self.read_json(self.json)["completed"], 0)

    # ---- Descriptors that are closed, full or broken --------------------------------------------------------------

    def test_closed_descriptors(self):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed=closed):
                done = self.shell(f'exec "$@" {closed}', "run", "--frames", 3, "--json", self.json, "--results",
                                  self.results)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.read_json(self.json)["completed"], 3)
                self.assertEqual(len(self.read_results(self.results)), 3)
                self.assertEqual(self.shell(f'exec "$@" {closed}', "run", "--limit", 0).returncode, 2)

    def test_descriptors_open_the_wrong_way(self):
        done = self.shell('exec "$@" 1</dev/null', "--version")
        self.assertEqual(done.returncode, 1)
        self.assert_one_line("standard output: Bad file descriptor", done.stderr)
        done = self.shell('exec "$@" 3</dev/null', "run", "--json", "/dev/fd/3")
        self.assertEqual(done.returncode, 3)
        self.assert_one_line('--json: cannot write "/dev/fd/3": Bad file descriptor', done.stderr)

    @FULL
    def test_full_stdout(self):
        for args in (["--help"], ["run", "--help"], ["--version"], ["info"],
                     ["run", "--frames", 3, "--json", self.json, "--results", self.results]):
            with self.subTest(args=args):
                done = self.shell('exec "$@" >/dev/full', *args)
                self.assertEqual(done.returncode, 1)
                self.assert_one_line("cannot write to the standard output: No space left on device", done.stderr)
        self.assertEqual(self.read_json(self.json)["exit_code"], 1)
        self.assertEqual(len(self.read_results(self.results)), 3)

    @FULL
    def test_full_stderr(self):
        self.assertEqual(self.shell('exec "$@" 2>/dev/full', "run", "--limit", 0).returncode, 2)
        self.assertEqual(self.shell('exec "$@" 2>/dev/full', "run", self.folder / "missing").returncode, 3)
        self.assertEqual(self.shell('exec "$@" >/dev/full 2>&1', "--version").returncode, 1)
        self.assertEqual(self.shell('exec "$@" 2>/dev/full', "run", "--frames", 3).returncode, 0)

    def test_stdout_has_no_reader(self):
        for args in (["--help"], ["--version"], ["info"],
                     ["run", "--duration", 1.5, "--json", self.json, "--results", self.results]):
            with self.subTest(args=args):
                reader, writer = os.pipe()
                os.close(reader)
                process = self.start(*args, stdout=writer)
                os.close(writer)
                self.assert_one_line("standard output: Broken pipe", process.communicate(timeout=TIMEOUT_S)[1])
                self.assertEqual(process.returncode, 1)
        statistics = self.read_json(self.json)
        self.assertEqual((statistics["exit_code"], statistics["submitted"]), (1, 90))
        self.assertEqual(len(self.read_results(self.results)), 90)

    def test_a_pipe_that_does_not_block(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fill(writer)
        os.set_blocking(writer, False)
        process = self.start("--version", stdout=writer)
        os.close(writer)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        text = b""
        while piece := os.read(reader, 1 << 16):
            text += piece
        self.assertEqual(process.communicate(timeout=TIMEOUT_S)[1], "")
        self.assertEqual(process.returncode, 0)
        self.assertTrue(text.lstrip(b".").startswith(b"inflight "), text[-100:])

    def test_the_mode_of_a_shared_pipe_is_left_alone(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self.start("--version", stdout=writer).communicate(timeout=TIMEOUT_S)
        self.assertTrue(os.get_blocking(writer))

    def test_the_reader_of_results_goes(self):
        os.mkfifo(self.results)
        process = self.start("run", "--duration", 2, "--json", self.json, "--results", self.results)
        with open(self.results, "rb", buffering=0) as reader:
            reader.read(1)
        self.assert_one_line(f'--results: cannot write "{self.results}": Broken pipe',
                             process.communicate(timeout=TIMEOUT_S)[1])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.read_json(self.json)["exit_code"], 1)

    def test_a_limit_on_the_size_of_files(self):
        limit = 10_000
        process = self.start("run", "--frames", 300, "--fps", 0, "--json", self.json, "--results", self.results,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assert_one_line(f'--results: cannot write "{self.results}": File too large',
                             process.communicate(timeout=TIMEOUT_S)[1])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.read_json(self.json)["completed"], 300)
        self.assertTrue(0 < self.results.stat().st_size <= limit)
        self.assertTrue(self.results.read_bytes().endswith(b"}\n"))
        self.assertGreater(len(self.read_results(self.results)), 3)

    def test_json_that_does_not_fit_replaces_nothing(self):
        self.json.write_bytes(b"old")
        process = self.start("run", "--frames", 3, "--json", self.json,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
        self.assert_one_line(f'--json: cannot write "{self.json}": File too large',
                             process.communicate(timeout=TIMEOUT_S)[1])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.json.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.folder), ["run.json"])


# ---- Terminals ----------------------------------------------------------------------------------------------------


class Terminal(ShellCase):
    def setUp(self):
        super().setUp()
        try:
            self.main, self.terminal = os.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal: {error}")
        self.addCleanup(lambda: [os.close(d) for d in (self.main, self.terminal) if d >= 0])

    def hang_up(self):
        os.close(self.terminal)
        os.close(self.main)
        self.main = self.terminal = -1

    def test_a_stopped_terminal(self):
        process = self.start_run(stdout=self.terminal)
        termios.tcflow(self.terminal, termios.TCOOFF)  # as ^S does
        time.sleep(0.5)
        self.assert_one_line("standard output: its reader has stopped reading", self.stop(process))
        self.assertEqual(len(self.read_results(self.results)), self.read_json(self.json)["submitted"])

    def test_a_terminal_that_nobody_reads(self):
        fill(self.terminal)
        process = self.start_run(stdout=self.terminal)
        time.sleep(0.5)
        self.assert_one_line("standard output: its reader has stopped reading", self.stop(process))
        self.assertEqual(len(self.read_results(self.results)), self.read_json(self.json)["submitted"])

    def test_stdout_and_stderr_on_a_stopped_terminal(self):
        process = self.start_run(stdout=self.terminal, stderr=self.terminal)
        termios.tcflow(self.terminal, termios.TCOOFF)
        time.sleep(0.5)
        self.stop(process)
        self.read_json(self.json)

    def test_a_terminal_that_goes_away(self):
        """It is not the controlling terminal, so no signal comes: writing fails."""
        process = self.start_run("--duration", 2, stdout=self.terminal)
        self.hang_up()
        self.assert_one_line("standard output: Input/output error", process.communicate(timeout=TIMEOUT_S)[1])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(len(self.read_results(self.results)), self.read_json(self.json)["submitted"])

    def test_the_controlling_terminal_goes_away(self):
        def control():
            os.setsid()
            fcntl.ioctl(self.terminal, termios.TIOCSCTTY, 0)

        process = self.start_run(stdin=self.terminal, stdout=self.terminal, stderr=self.terminal, preexec_fn=control)
        since = time.monotonic()
        self.hang_up()
        self.ends_soon(process, 128 + signal.SIGHUP, since)
        statistics = self.read_json(self.json)
        self.assertEqual(statistics["exit_code"], 129)
        self.assertEqual(len(self.read_results(self.results)), statistics["submitted"])

    def test_a_terminal_may_be_given_twice(self):
        process = self.start("run", "--frames", 2, "--json", "/dev/stdout", "--results", "/dev/stdout",
                             stdout=self.terminal)
        self.assertEqual(process.communicate(timeout=TIMEOUT_S)[1], "")
        self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
