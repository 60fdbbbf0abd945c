"""Escapes control characters, so that text of a configuration or a file name cannot control a terminal."""


def printable(text: str, also: str = "") -> str:
    """Return `text` with control characters as escapes, but those in `also`."""
    if text.isprintable():
        return text
    return "".join(c if (c >= " " and not "\x7f" <= c <= "\x9f") or c in also else repr(c)[1:-1] for c in text)
