"""Shows a report. Never measures, never judges, never imports torch.

    Report ── view ──> Card ── text ──> str          figures are data first: `view` decides what is
    Report, Report ── contrast ──> Contrast ──> str  said and in which words, renderers only draw

`amounts` turns numbers into words, `titles` names into words, `sheet` lays lines out on a page.
"""
