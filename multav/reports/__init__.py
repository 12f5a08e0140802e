"""What an audit says to people: JSON, tables, and a page that stands by itself."""
