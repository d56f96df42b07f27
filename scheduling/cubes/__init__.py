"""Blocks of cubes that optical switches join: which cubes, which box inside one, whom to displace, how many to spare."""
