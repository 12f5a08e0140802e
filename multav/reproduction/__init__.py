"""The paper's Table 1 as jobs of a service: what is trained and audited, and the table that it gives."""
