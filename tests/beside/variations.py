"""All that is varied."""

from callers_of import CALLERS
from calls import CALLS
from configurations import CONFIGURATIONS

VARIATIONS = [*CONFIGURATIONS, *CALLS, *CALLERS]
