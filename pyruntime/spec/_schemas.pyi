"""What generate/checks.py writes, for type checkers: the schemas by name."""

from typing import Any

SCHEMAS: dict[str, dict[str, Any]]
