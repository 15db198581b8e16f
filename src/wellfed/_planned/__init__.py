"""Plans that are kept in files: what they hold for, how they are applied, whether they still hold.

key        what has to be the same, as texts
applying   a file's plan as arguments of the loader, or why it is not applied
proving    the first batches timed against what was measured when it was found
"""
