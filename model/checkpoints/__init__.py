"""The checkpoints that ship inside the package, each in a folder of its own beside this file."""
