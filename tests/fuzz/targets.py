"""What holds for any bytes given as a configuration, a part of one, or a state: a result, or an Error that says why."""

import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "unit/plan")]

from clauses import CLAUSES as OF_THE_SPEC  # noqa: E402
from invented import V1, V2, config, facts  # noqa: E402
from pyruntime import spec  # noqa: E402
from pyruntime._seccomp import lib  # noqa: E402
from pyruntime.base import jsonio  # noqa: E402
from pyruntime.base.errors import Error, InvalidConfig  # noqa: E402
from pyruntime.cli.verbs import plan as printed  # noqa: E402
from pyruntime.engine.child.step_array import StepArrays  # noqa: E402
from pyruntime.engine.seccomp import compiler as seccomp_compiler  # noqa: E402
from pyruntime.operations import state as states  # noqa: E402
from pyruntime.plan import seccomp_program  # noqa: E402
from pyruntime.plan.cgroup.cgroup import CgroupPlan  # noqa: E402
from pyruntime.plan.context import Context  # noqa: E402
from pyruntime.plan.create import compile_plan  # noqa: E402
from pyruntime.plan.exec import compile_exec  # noqa: E402
from pyruntime.spec import _checks, load, schema_errors  # noqa: E402
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

# What is no JSON breaks no clause with an anchor in the files of tests/support/clauses.py.
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
    """Tell whether a document is refused, and check that all checks agree and give a reason."""
    passed = compiled(document)
    sampled = zlib.crc32(repr(document).encode("utf-8", "replace")) % 16 == 0
    if not passed or sampled:
        findings = list(schema_errors.findings("config", definition, document))
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
    program = StepArrays()
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
        store._paused(state, False)


MANAGER = "org.freedesktop.systemd1.Manager"


def sent(properties):
    """Check that D-Bus carries a unit's properties: what jeepney writes, it reads as it was."""
    import jeepney

    body = [(name, (signature, value)) for name, signature, value in properties]
    address = jeepney.DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", MANAGER)
    message = jeepney.new_method_call(address, "StartTransientUnit", "a(sv)", (body,))
    # By their representation, because NaN is not equal to itself.
    assert repr(jeepney.Message.from_buffer(message.serialise(1)).body) == repr((body,))
    for text in strings(body):
        assert "\0" not in text
    for _, signature, _ in properties:
        assert len(signature) <= 255
        assert len(jeepney.low_level.parse_signature(list(f"({signature})")).fields) == 1
        assert "()" not in signature, "jeepney lets empty structures pass"


def strings(value):
    """Yield all strings in nested lists and tuples."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def with_unit(given):
    """Return the configuration that has the annotations and the limits that are `given`."""
    linux = {"resources": {"unified": given.get("unified")}}
    return config(annotations=given.get("annotations"), linux=linux)


def unit_properties(document):
    """Return what systemd would be told about a container."""
    plan = compile_plan(Context(document, HOSTS[1][0], "/bundle", "c1", systemd_cgroup=True))
    return plan.cgroup.unit.properties


def load_unit(data):
    """Raise Error unless `data` becomes properties of a unit."""
    given = load.parse(data, "unit.json")
    document = with_unit(given if isinstance(given, dict) else {"annotations": given})
    spec.check_config(document)
    unit_properties(document)


@within_time
def check_unit(data):
    """Annotations and limits that become properties of a systemd unit: refused at their place, or sent over D-Bus."""
    loaded = parsed(data)
    if loaded is None or not isinstance(loaded[0], dict):
        return
    document = with_unit(loaded[0])
    if refused(document, spec.check_config, _checks.config, ""):
        return
    try:
        properties = unit_properties(document)
    except Error as error:
        explained(error, document)
        assert resolves(document, error.pointer, missing=True), error.pointer
        return
    sent(properties)


def runs(program, number):
    """Return what a filter answers to system call `number` of this machine's architecture with arguments of 0."""
    code = [(int.from_bytes(program[at : at + 2], sys.byteorder), *program[at + 2 : at + 4],
             int.from_bytes(program[at + 4 : at + 8], sys.byteorder)) for at in range(0, len(program), 8)]  # fmt: skip
    place = accumulator = 0
    while True:
        operation, true, false, value = code[place]
        place += 1
        if operation == 0x20:  # load
            accumulator = {0: number, 4: int(lib.seccomp_arch_native())}.get(value, 0)
        elif operation == 0x54:  # and
            accumulator &= value
        elif operation == 0x06:  # return
            return value
        elif operation == 0x05:  # jump
            place += value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value,
                     0x45: accumulator & value != 0}[operation]  # fmt: skip
            place += true if holds else false


NEWEST = 0x3FFFFFFF  # the greatest number that is none of x32


@within_time
def check_seccomp(data):
    """A profile: refused, or compiled to a filter that answers as the profile says."""
    loaded = parsed(data)
    if loaded is None:
        return
    document = config(linux={"seccomp": loaded[0]})
    if refused(document, spec.check_config, _checks.config, ""):
        return
    planned(document, compile_plan, Context(document, HOSTS[0][0], "/bundle", "c1"))
    profile, program = loaded[0], b""
    for strict in (True, False):
        try:
            program = seccomp_compiler.compile_profile(profile, strict)
        except Error as error:
            explained(error, document)
            assert resolves(document, error.pointer, missing=False), error.pointer
    if not program:
        return
    assert len(program) % 8 == 0
    default = seccomp_program.default_action(profile)
    rules = {}
    for name, action, conditions, _ in seccomp_program.rules(profile):
        rules.setdefault(name, []).append((action, conditions))
    numbers = {name: lib.seccomp_syscall_resolve_name(name.encode()) for name in seccomp_program.names(profile)}
    known = max(numbers.values(), default=0)
    for name, number in numbers.items():
        found = rules.get(name, [(default, ())])
        if number >= 0 and len(found) == 1 and not found[0][1]:
            assert runs(program, number) == found[0][0], name
    if known > 0:
        newer = seccomp_program.action("SCMP_ACT_ERRNO", 38) if seccomp_program.has_newest(profile) else default
        assert runs(program, NEWEST) == newer


LOADERS = {
    "config": lambda data: spec.check_config(load.parse(data, "config.json")),
    "process": lambda data: spec.check_process(load.parse(data, "process.json")),
    "state": spec.load_state,
    "unit": load_unit,
    "seccomp": lambda data: spec.check_config(config(linux={"seccomp": load.parse(data, "seccomp.json")})),
}
CHECKS = {
    "config": check_config,
    "process": check_process,
    "state": check_state,
    "unit": check_unit,
    "seccomp": check_seccomp,
}
