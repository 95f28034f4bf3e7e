"""What a node's owner allows, and that policy keeps to it."""
