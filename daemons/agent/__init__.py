"""The agent: one on each TPU host. Reads its sources each period, sends one frame, answers requests, keeps events safe."""
