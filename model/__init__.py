"""Networks and measurements: trackers, captioners, embedders. Knows nothing of files, queues or the index."""
