"""SAM 2: find objects without a prompt and follow their masks through a video, frame by frame."""
