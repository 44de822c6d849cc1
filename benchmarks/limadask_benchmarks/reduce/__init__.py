"""``limadask bench reduce``: what frames are reduced to, against those who do it well."""
