"""What holds for any bytes given as config.json, process.json or state.json: a result, or an Error that says why."""

import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "unit/plan")]

from clauses import CLAUSES as OF_THE_SPEC  # noqa: E402
from invented import V1, V2, config, facts  # noqa: E402
from pyruntime import jsonio, spec  # noqa: E402
from pyruntime.cli.verbs import plan as printed  # noqa: E402
from pyruntime.engine import state as states  # noqa: E402
from pyruntime.engine.program import Program  # noqa: E402
from pyruntime.errors import Error, InvalidConfig  # noqa: E402
from pyruntime.plan.cgroup import CgroupPlan  # noqa: E402
from pyruntime.plan.context import Context  # noqa: E402
from pyruntime.plan.create import compile_plan  # noqa: E402
from pyruntime.plan.exec import compile_exec  # noqa: E402
from pyruntime.spec import _checks, explain, load  # noqa: E402
from pyruntime.store import container as store  # noqa: E402

# Hosts that configurations are compiled for, with the options of create.
LACKING = ["CAP_MKNOD", "CAP_SETGID", "CAP_SYS_RESOURCE"]
HOSTS = [
    (facts(V1), {}),
    (facts(V2), {"systemd_cgroup": True}),
    (facts(V2, lacking=LACKING, euid=1000, in_user_namespace=True), {"no_pivot": True}),
]

# Seconds of CPU time that any document may take, and how many more for each byte.
SECONDS, SECONDS_A_BYTE = 2.0, 10e-6

# What is no JSON breaks no clause with an anchor in the files of tests/clauses.py.
CLAUSES = {*OF_THE_SPEC, "glossary.md#json"}


def within_time(check):
    """Make `check(data)` fail, too, where it takes longer than its input's size allows."""

    def timed(data):
        before = time.process_time()
        check(data)
        spent = time.process_time() - before
        assert spent < SECONDS + SECONDS_A_BYTE * len(data), f"{spent:.1f} s for {len(data)} bytes"

    return timed


def resolves(document, pointer, *, missing):
    """Tell whether a JSON pointer names a part of `document`, or with `missing` where a part of it would be."""
    tokens = pointer.split("/")
    if tokens[0]:
        return False
    for index, token in enumerate(tokens[1:], 1):
        name = token.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(name)] if isinstance(document, list) else document[name]
        except (LookupError, TypeError, ValueError):
            return missing and index == len(tokens) - 1 and isinstance(document, dict)
    return True


def explained(error, document):
    """Check an Error about `document`, which is None where it could not be read."""
    assert error.doing
    for problem in getattr(error, "problems", [error]):
        assert problem.doing
        assert not problem.clause or problem.clause in CLAUSES, problem.clause
        # A pointer is as long as the names in it.
        assert len(str(problem)) - len(problem.pointer) < 2500, "a message of more than 2500 characters"
        if isinstance(error, InvalidConfig):
            assert problem.clause, f"no clause: {problem}"
            assert resolves(document, problem.pointer, missing=True), problem.pointer
    jsonio.dumps(error.value)
    str(error).encode("utf-8", "backslashreplace")


def refused(document, check, compiled, definition):
    """Tell whether a document is refused, and check that all who judge it agree and say why."""
    passed = compiled(document)
    sampled = zlib.crc32(repr(document).encode("utf-8", "replace")) % 16 == 0
    if not passed or sampled:
        findings = explain.findings("config", definition, document)
        assert bool(findings) != passed, f"compiled checks say {passed}, the schema says {[str(f) for f in findings]}"
    try:
        check(document)
    except InvalidConfig as error:
        assert error.problems
        explained(error, document)
        return True
    assert passed
    return False


def parsed(data):
    """Return the document in a tuple, or None where it is none."""
    try:
        return (load.parse(data, "config.json"),)
    except Error as error:
        assert type(error) is Error
        assert error.clause == "glossary.md#json"
        explained(error, None)
        return None


def planned(document, compile_it, *arguments):
    """Compile a plan, and carry it as far as goes without a kernel; or check the Error."""
    try:
        plan = compile_it(*arguments)
    except Error as error:
        explained(error, document)
        return
    for step in plan.steps():
        assert step.clause in CLAUSES, step.clause
        assert resolves(document, step.pointer, missing=False), f"{step.op}: {step.pointer}"
    printed.as_json(plan)
    printed.as_text(plan)
    program = Program()
    program.array(plan.build)
    program.array(plan.enter)
    program.stub()


@within_time
def check_config(data):
    """config.json: loaded, validated, compiled for several hosts, and kept as the store keeps it."""
    loaded = parsed(data)
    if loaded is None or refused(loaded[0], spec.check_config, _checks.config, ""):
        return
    document = loaded[0]
    assert jsonio.loads(jsonio.dumps(document)) == document
    for host, options in HOSTS:
        planned(document, compile_plan, Context(document, host, "/bundle", "c1", **options))


@within_time
def check_process(data):
    """process.json of `exec`: loaded, validated, compiled as one more process of a container."""
    loaded = parsed(data)
    if loaded is None or refused(loaded[0], spec.check_process, _checks.process, "process"):
        return
    for host, _ in HOSTS:
        document = {**config(), "process": loaded[0]}
        group = CgroupPlan(host.cgroup.mode, "", {}, [], [], False)
        planned(document, compile_exec, Context(document, host, "/bundle", "c1"), group)


class _Root:
    """A state root with one container, made when first needed."""

    path = ""

    @classmethod
    def put(cls, data):
        """Make `data` the state.json of the container; return the root."""
        if not cls.path:
            cls.path = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm")
            Path(cls.path, "c1").mkdir()
            import atexit

            atexit.register(shutil.rmtree, cls.path, ignore_errors=True)
        Path(cls.path, "c1/state.json").write_bytes(data)
        return cls.path


@within_time
def check_state(data):
    """state.json: the document of the spec, and what the store kept, as `state` reads it."""
    try:
        spec.load_state(data)
    except InvalidConfig as error:
        explained(error, load.parse(data, "state.json"))
    except Error as error:
        explained(error, None)
    root = _Root.put(data)
    try:
        document = states.state(root, "c1")
    except Error as error:
        explained(error, None)
        return
    jsonio.dumps(document)
    with store.open_container(root, "c1") as container:
        state = container.read()
        container.read_first()
        store.paused(state)


LOADERS = {
    "config": lambda data: spec.check_config(load.parse(data, "config.json")),
    "process": lambda data: spec.check_process(load.parse(data, "process.json")),
    "state": spec.load_state,
}
CHECKS = {"config": check_config, "process": check_process, "state": check_state}
