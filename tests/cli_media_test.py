# SPDX-License-Identifier: Apache-2.0
"""The program from outside on pictures, videos and streams, made here or taken from the cases of the field.

usage: cli_media_test.py PROGRAM MODELS_FOLDER DATA_FOLDER SANITIZERS [unittest arguments]
The cases are looked for beside DATA_FOLDER; tests that want one skip, saying so, where it is absent.
"""

import sys
import unittest

from cli_test_support import DATA, Case

CASES = DATA.parent / "cases"


def needs_case(name):
    return unittest.skipUnless((CASES / name).exists(), f"no case {name} here")


# ---- Videos and streams -------------------------------------------------------------------------------------------


class Streams(Case):
    @needs_case("videos/joined.ts")
    def test_joined_recordings_are_one(self):
        statistics, _ = self.run_json("--source", CASES / "videos/joined.ts", "--fps", 0)
        self.assertEqual(statistics["completed"], 20)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]])
