"""CRIU's RPC: messages in protobuf's wire format over a socket to `criu swrk` (criu.org/RPC, rpc.proto of CRIU 3.17).

A message is a dict from name to int (numbers, enums and bools), str, or another message; a list is a field that
repeats. The tables map names to numbers. They have only the fields that are used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # name -> (number, the table of the message it holds)
    Table = dict[str, tuple[int, "Table | None"]]
    Message = dict[str, Any]

# enum criu_req_type
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10

# enum criu_cg_mode; without a choice it is CRIU's own.
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5, "": 6}

NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}  # enum criu_network_lock_method

_PAIR: "Table" = {"key": (1, None), "val": (2, None)}
_FEATURES: "Table" = {"mem_track": (1, None), "lazy_pages": (2, None)}

_OPTIONS: "Table" = {
    "images_dir_fd": (1, None),
    "pid": (2, None),
    "leave_running": (3, None),
    "ext_unix_sk": (4, None),
    "tcp_established": (5, None),
    "evasive_devices": (6, None),
    "shell_job": (7, None),
    "file_locks": (8, None),
    "log_level": (9, None),
    "log_file": (10, None),
    "ps": (11, {"address": (1, None), "port": (2, None)}),
    "notify_scripts": (12, None),
    "root": (13, None),
    "parent_img": (14, None),
    "track_mem": (15, None),
    "auto_dedup": (16, None),
    "work_dir_fd": (17, None),
    "link_remap": (18, None),
    "ext_mnt": (23, _PAIR),
    "manage_cgroups": (24, None),
    "cg_root": (25, {"ctrl": (1, None), "path": (2, None)}),
    "rst_sibling": (26, None),
    "inherit_fd": (27, {"key": (1, None), "fd": (2, None)}),
    "manage_cgroups_mode": (34, None),
    "external": (37, None),
    "empty_ns": (38, None),
    "join_ns": (39, {"ns": (1, None), "ns_file": (2, None)}),
    "freeze_cgroup": (44, None),
    "tcp_skip_in_flight": (46, None),
    "lazy_pages": (48, None),
    "orphan_pts_master": (50, None),
    "config_file": (51, None),
    "tcp_close": (52, None),
    "lsm_profile": (53, None),
    "lsm_mount_context": (63, None),
    "network_lock": (64, None),
}

REQUEST: "Table" = {"type": (1, None), "opts": (2, _OPTIONS), "notify_success": (3, None), "features": (5, _FEATURES)}

RESPONSE: "Table" = {
    "type": (1, None),
    "success": (2, None),
    "restore": (4, {"pid": (1, None)}),
    "notify": (5, {"script": (1, None), "pid": (2, None)}),
    "cr_errno": (7, None),
    "features": (8, _FEATURES),
    "cr_errmsg": (9, None),
    "version": (10, {"major_number": (1, None), "minor_number": (2, None), "sublevel": (4, None)}),
}

_VARINT, _BYTES = 0, 2  # wire types


def encode(message: "Message", table: "Table") -> bytes:
    """Return `message` in wire format. Raises KeyError for a name that `table` has not."""
    wire = b""
    for name, value in message.items():
        number, inner = table[name]
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, int):
                wire += _varint(number << 3 | _VARINT) + _varint(item)
            else:
                content = encode(item, inner) if inner is not None else item.encode(errors="surrogateescape")
                wire += _varint(number << 3 | _BYTES) + _varint(len(content)) + content
    return wire


def decode(wire: bytes, table: "Table") -> "Message":
    """Decode the message `wire` with the names of `table`; a field that repeats becomes a list.

    Raises ValueError if it is no message.
    """
    names = {number: (name, inner) for name, (number, inner) in table.items()}
    message: Message = {}
    position = 0
    while position < len(wire):
        key, position = _read_varint(wire, position)
        value: Any
        value, position = _read_varint(wire, position)
        if key & 7 == _BYTES:
            if position + value > len(wire):
                raise ValueError("a field is longer than its message")
            value, position = wire[position : position + value], position + value
        elif key & 7 != _VARINT:
            raise ValueError(f"wire type {key & 7}")
        name, inner = names.get(key >> 3, ("", None))
        if not name:
            continue
        if isinstance(value, bytes):
            value = decode(value, inner) if inner is not None else value.decode(errors="surrogateescape")
        if name in message:
            before = message[name]
            message[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            message[name] = value
    return message


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # a negative number is its complement in 64 bits
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _read_varint(wire: bytes, position: int) -> "tuple[int, int]":
    value = shift = 0
    while position < len(wire) and shift < 70:
        byte = wire[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ValueError("a number has no end")
