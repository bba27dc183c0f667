"""From a structured query to hits: filters, candidates, judging, ranking, reasons."""
