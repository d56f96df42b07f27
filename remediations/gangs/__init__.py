"""Kinds of gangs, one file each, as pure functions over their objects; `catalog` lists them."""
