"""What stands here is no test, and the component runs in another environment."""

collect_ignore = ["eiger_component.py"]
