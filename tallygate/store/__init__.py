"""The operational store: databases, migrations, named queries, one repository per noun."""
