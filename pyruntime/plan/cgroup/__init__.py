"""The part of the plan for control groups: where they are, what is written into them."""

import pyruntime

pyruntime.load_lazily(__name__)
