"""Files and folders, local or on object stores, and safe readers for content from anybody.

Hands out: columns, credentials, folder, parquet_footer, sealed_json, strict_json.
"""
