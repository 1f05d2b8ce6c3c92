"""The pages of the view: one file a page, or a family of pages."""
