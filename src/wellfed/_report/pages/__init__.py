"""The template of the HTML report, with its style and its script."""
