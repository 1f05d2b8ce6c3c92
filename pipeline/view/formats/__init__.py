"""The three formats of a page: HTML for people, JSON for programs, CSV for spreadsheets; the same rows in each."""
