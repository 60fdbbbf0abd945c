"""Lists of CPUs and memory nodes: comma-separated numbers, with dashes for ranges ("0-3,7")."""


def is_list(text: str) -> bool:
    """Tell whether `text` is such a list; an empty one is."""
    if not text:
        return True
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not (_is_number(last) and int(first) <= int(last))):
            return False
    return True


def _is_number(text: str) -> bool:
    # Kernels are built for thousands of CPUs; nine digits keep int() short.
    return len(text) < 10 and text.isascii() and text.isdigit()
