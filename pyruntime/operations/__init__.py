"""The operations of the spec (runtime.md#operations) and the verbs of runc, a module each."""

import pyruntime

pyruntime.load_lazily(__name__)
