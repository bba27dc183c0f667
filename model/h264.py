"""How pictures are written as H.264, so that the same pictures give the same bytes again."""

from __future__ import annotations

REPRODUCIBLE = {"x264-params": "mbtree=0"}
"""Options of libx264. With its macroblock tree, x264 (core 165) writes the same pictures differently from run
to run: what lay in the memory that it is given gets into its choices."""
