"""The stages of a video: read, chunk, track, join, describe, write."""
