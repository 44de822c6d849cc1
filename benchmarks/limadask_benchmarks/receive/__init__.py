"""``limadask bench receive``: what a detector's compressed stream costs, against bare readers."""
