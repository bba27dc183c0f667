"""Captioners, and the seam they share."""
