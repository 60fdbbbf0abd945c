"""The parts that the operations share: a folder for each subject."""

import pyruntime

pyruntime.load_lazily(__name__)
