"""What an object is, and a vector of how it looks, from pictures of it alone."""
