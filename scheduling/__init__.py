"""Placement, quota, victims, spares: snapshot in, plan out, with a reason for each yes and no. Pure."""
