"""An acquisition as its user sees it."""
