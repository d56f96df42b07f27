"""What exists: ids, TPU generations, torus, cubes, slices, gangs as values, the fleet snapshot, health of a part.

Plain mappings in, frozen values out. The lowest layer: it imports no other folder and no third-party package but PyYAML.
"""
