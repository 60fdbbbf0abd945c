"""The tests below inside/ are for the machine: only there are they collected."""

import os

collect_ignore = [] if os.environ.get("PYRUNTIME_VM") else ["inside"]
