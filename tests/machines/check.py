"""Run in a machine in which pyruntime is installed and cannot have been built: does all of it work?

check.py PYRUNTIME: the program; the interpreter that runs this has the package.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import bundle as bundles

PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}


def call(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; not in the project's directory, whose package `python -m` would take."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd="/")


def main(program: Path) -> None:
    """Raise AssertionError for what does not work."""
    assert not shutil.which("cc") and not shutil.which("gcc"), "there is a compiler, so this shows nothing"
    assert not list(Path("/usr/include").glob("**/Python.h")), "there are headers, so this shows nothing"
    with tempfile.TemporaryDirectory() as place:

        def change(config):
            config["process"]["args"] = ["sh", "-c", "mkdir /dev/shm/x; echo status $?"]
            config["linux"]["seccomp"] = PROFILE

        folder = Path(place, "bundle")
        bundles.make_bundle(folder, program, change)
        for words in ([program], [sys.executable, "-m", "pyruntime"]):
            done = call(*words, "run", "--bundle", folder, "first")
            assert (done.returncode, done.stdout) == (0, "status 1\n"), done
            assert "Operation not permitted" in done.stderr, done
            assert json.loads(call(*words, "features").stdout)["linux"]["seccomp"]["enabled"], words

        config = json.loads((folder / "config.json").read_text())
        config["process"]["args"] = ["sleep", "1000"]
        (folder / "config.json").write_text(json.dumps(config))
        # Its output is the container's, which goes on: nobody may wait for its end.
        nothing = subprocess.DEVNULL
        words = [program, "run", "--detach", "--bundle", folder, "second"]
        assert subprocess.call(words, stdin=nothing, stdout=nothing, stderr=nothing) == 0
        try:
            assert "sleep 1000" in call(program, "ps", "second").stdout, call(program, "ps", "second")
            done = call(program, "exec", "second", "echo", "inside")
            assert done.stdout == "inside\n", done
        finally:
            assert call(program, "delete", "--force", "second").returncode == 0

        config["mounts"][0]["destination"] = 7
        (folder / "config.json").write_text(json.dumps(config))
        done = call(program, "validate", "--bundle", folder)
        assert done.returncode == 1 and "/mounts/0/destination" in done.stderr, done
    print("works:", program, call(program, "--version").stdout.replace("\n", ", "), os.uname().release)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
