"""``limadask bench save``: what each saver costs, against a loop written by hand."""
