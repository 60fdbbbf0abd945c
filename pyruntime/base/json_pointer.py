"""JSON pointers (RFC 6901), and the same place as people write it."""


def join(pointer: str, *parts: object) -> str:
    """Return `pointer` extended by `parts`: names of members or indexes."""
    for part in parts:
        pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
    return pointer


def element(document: object, pointer: str) -> object:
    """Return what `document` has at `pointer`; None where it has nothing."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            document = document[int(name)] if name.isdecimal() and int(name) < len(document) else None
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document


def dotted(pointer: str) -> str:
    """Return `pointer` as people write it: `/mounts/3/options` as `mounts[3].options`; the document itself as ``."""
    text = ""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if name.isdigit():
            text += f"[{name}]"
        elif name and not any(mark in name for mark in '.[]" '):
            text += f".{name}" if text else name
        else:
            text += f'["{name}"]'
    return text
