"""PixelRefer and PixelRefer-Lite (arXiv 2510.23603): a sentence about any object, from its pixels alone.

Read `README.md` beside this file first, then `network.py`.
"""
