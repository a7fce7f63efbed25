"""What the notebooks import: data, networks, training, evaluation. Knows nothing of plans, stores or reports."""
