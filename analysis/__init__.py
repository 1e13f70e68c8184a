"""The analysis behind the paper: faces, models, relevance, masks, statistics, claims."""
