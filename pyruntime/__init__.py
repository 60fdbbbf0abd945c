"""pyruntime: an OCI runtime that compiles config.json into a plan and carries it out."""

__version__ = "0.1.0"

# The runtime-spec whose text the code follows; ociVersion of what pyruntime writes.
SPEC_VERSION = "1.3.0"
