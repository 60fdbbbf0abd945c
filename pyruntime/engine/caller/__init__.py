"""What the caller passes beside the bundle: options, sockets, descriptors."""
