"""Trackers, and the seam they share."""
