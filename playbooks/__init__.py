"""What to do about a finding: YAML library, schema, conditions, incidents, guards, decide, explain. The deciding half is pure."""
