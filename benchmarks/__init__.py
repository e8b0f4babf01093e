"""One module a benchmark; `segmix bench [NAME]` runs them."""
