"""What the caller passes in addition to the bundle: options, sockets, descriptors."""

import pyruntime

pyruntime.load_lazily(__name__)
