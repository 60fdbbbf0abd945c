"""What tests of checkpoint and restore share."""

from criu import criu, images

__all__ = ["criu", "images"]
