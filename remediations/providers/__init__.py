"""Providers of repairs, one file each; `catalog` lists them."""
