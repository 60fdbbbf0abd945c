"""The runtime with one variation: what the executable that wrong.py writes runs in place of the program."""

import os
import re
import zlib


def run(variation, record):
    """Run the command line of this process, wrong in the one way that `variation` names; "" for none.

    record  a file that takes a line for each variation that this command has a place for, or "": the test, the
            variation, the section of the spec, a hash of what would be changed
    """
    # Before anything else is imported: the engine takes names from these modules.
    import actions
    import steps

    seen = set()
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]

    def see(name, section, changed=""):
        if record and (name, section, changed) not in seen:
            seen.add((name, section, changed))
            # The same for each test, wherever its files lie.
            alike = re.sub(r"[^\s'\",]*pytest-[^\s'\",]*", "", changed)
            fd = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.write(fd, f"{test}\t{name}\t{section}\t{zlib.crc32(alike.encode()):x}\n".encode())
            os.close(fd)

    see("", "")
    steps.install(variation if variation not in actions.ACTIONS else "", see)
    actions.install(variation, see if record else None)

    from pyruntime.cli.main import program

    program()
