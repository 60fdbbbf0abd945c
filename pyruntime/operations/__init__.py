"""The operations of the spec (runtime.md#operations) and the verbs of runc, a module each."""
