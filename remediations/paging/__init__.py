"""Pagers, one file each: a `Page` in, the wire form of a service out; `catalog` lists them."""
