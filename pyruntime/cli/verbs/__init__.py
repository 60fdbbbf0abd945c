"""One module a verb, each with `main(line) -> exit status`; only the chosen one is imported."""

import pyruntime

pyruntime.load_lazily(__name__)
