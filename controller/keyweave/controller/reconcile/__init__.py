"""The core: stimuli in, instructions out; the only place where the controller's state changes."""
