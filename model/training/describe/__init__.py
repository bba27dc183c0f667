"""Training PixelRefer-Lite: warm-up, perception and instruction, on rendered or published data."""
