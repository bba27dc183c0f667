"""Train SAM 2: on rendered scenes, or on folders of frames and masks."""
