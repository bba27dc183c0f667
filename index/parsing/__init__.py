"""From a sentence to a structured query: words, phrases, times."""
