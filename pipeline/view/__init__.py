"""The web view's own language: columns, queries over rows, pages in three formats, who may see what.

Nothing here knows Faust or where rows come from: `agents/view/` gathers them over workers and serves the pages.
"""
