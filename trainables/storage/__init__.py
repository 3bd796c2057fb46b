"""Files and folders, local or on S3, and safe readers for content that anybody may have written.

Hands out: columns, credentials, folder, parquet_footer, strict_json.
"""
