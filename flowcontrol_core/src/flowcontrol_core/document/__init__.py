"""A flow as a document: parsed, validated, edited, digested and compared. Values in, values out."""
