"""Shows a report. Never measures, never judges, never imports torch."""
