"""Rules tried out before they watch anything: cases beside their files, lint, pages, and findings scored against labels."""
