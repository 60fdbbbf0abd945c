"""The places of a JSON document, for what changes one at random."""


def places(value, path=()):
    """Return the paths of all parts of a JSON value; of long arrays only the first entries."""
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:8]):
            found += places(item, (*path, index))
    return found
