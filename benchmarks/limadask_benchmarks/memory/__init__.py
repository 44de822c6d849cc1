"""``limadask bench memory``: what memory costs, and how often it is asked for."""
