"""The device filter of cgroup v2: ordered rules as an eBPF program (cgroup-v2.rst, "Device controller")."""

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Instruction codes of linux/bpf.h; comparisons in their 32-bit form, because immediates are sign-extended to 64 bits.
_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_AND, _SHIFT_RIGHT, _MOVE = 0x54, 0x74, 0xB4  # BPF_ALU | BPF_K | ...
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_UNEQUAL, _JUMP_SET = 0x56, 0x46  # BPF_JMP32 | BPF_K | BPF_JNE, BPF_JSET
_EXIT = 0x95

# What each register holds.
_RESULT, _CONTEXT, _KIND, _WANTED, _MAJOR, _MINOR = range(6)

_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
_LETTERS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_ALL = 7

_LOG_SIZE = 65536


def program(rules: "list[list[Any]]") -> bytes:
    """Return the instructions for rules [allow, type, major, minor, access] in their order.

    Without a matching rule nothing is allowed. For each kind of access the last matching rule decides. So the rules
    are tried from the last to the first, and the register "wanted" keeps the kinds of access that no rule has allowed
    yet: a rule that forbids one of them refuses the access, a rule that allows the last of them permits it.
    """
    # struct bpf_cgroup_dev_ctx: access_type (access << 16 | kind), major, minor
    code = [
        _instruction(_LOAD_WORD, _KIND, _CONTEXT),
        _instruction(_AND, _KIND, immediate=0xFFFF),
        _instruction(_LOAD_WORD, _WANTED, _CONTEXT),
        _instruction(_SHIFT_RIGHT, _WANTED, immediate=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
    ]
    otherwise = False
    for allow, kind, major, minor, letters in reversed(rules):
        if kind == "a":
            otherwise = allow
            break  # earlier rules have no effect, and the verifier refuses instructions that are never reached
        code += _rule(allow, kind, major, minor, sum(_LETTERS[letter] for letter in letters))
    code += _return(otherwise)
    return b"".join(code)


def _rule(allow: bool, kind: str, major: str, minor: str, access: int) -> list[bytes]:
    if not allow:
        # Refuse where one of the wanted kinds of access is among the forbidden ones.
        action = [_instruction(_JUMP_SET, _WANTED, offset=1, immediate=access), _instruction(_JUMP, offset=2)]
    elif access != _ALL:
        action = [
            _instruction(_AND, _WANTED, immediate=~access & _ALL),
            _instruction(_JUMP_UNEQUAL, _WANTED, offset=2),
        ]
    else:
        action = []
    action += _return(allow)
    conditions = [(_KIND, _KINDS[kind])]
    if major != "*":
        conditions.append((_MAJOR, int(major)))
    if minor != "*":
        conditions.append((_MINOR, int(minor)))
    count = len(conditions)
    return [
        _instruction(_JUMP_UNEQUAL, register, offset=count - index - 1 + len(action), immediate=value)
        for index, (register, value) in enumerate(conditions)
    ] + action


def _return(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, immediate=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One struct bpf_insn in this machine's byte order (x86_64 and aarch64 are little-endian)."""
    head = bytes((code, source << 4 | target))
    return head + offset.to_bytes(2, "little") + (immediate & 0xFFFFFFFF).to_bytes(4, "little")


def attach(directory: int, rules: "list[list[Any]]") -> None:
    """Make the rules the device filter of the cgroup whose directory is open as descriptor `directory`.

    A filter attached earlier by this function is replaced; those of others stay. Raises OSError with the bpf(2)
    command as its file name, and Error where the verifier refuses the program.
    """
    code = program(rules)
    call = ffi.new("const char **")
    log = ffi.new("char[]", _LOG_SIZE)
    result = lib.pyr_bpf_device_attach(directory, code, len(code) // 8, call, log, _LOG_SIZE)
    if result < 0:
        said = ffi.string(log).decode("utf-8", "replace").strip()
        if said:
            raise Error("cannot attach the device filter", "the kernel's verifier refused it", errno=-result, log=said)
        raise OSError(-result, os.strerror(-result), f"bpf({ffi.string(call[0]).decode()})")
