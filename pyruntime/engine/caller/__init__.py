"""What the caller passes in addition to the bundle: options, sockets, descriptors."""
