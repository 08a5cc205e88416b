"""The original's ways of doing things, restated in our own words, to be measured against."""
