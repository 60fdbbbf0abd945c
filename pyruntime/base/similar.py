"""Names that somebody who made a typing error may have meant: for errors and notes alone."""

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, names: "Iterable[str]", likeness: float = 0.6) -> str:
    """Return the name that is most like `word`, "" if none is.

    likeness  how alike they must be, from 0 to 1 (difflib.get_close_matches)
    """
    return next(iter(get_close_matches(word, sorted(names), 1, likeness)), "")
