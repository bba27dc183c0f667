"""Timelines of objects in the file formats of other programs: one function a format, filed in `registry`."""
