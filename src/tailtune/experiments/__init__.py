"""The chapter's bonus experiments as rows that are run one by one, beside the figures that the book prints."""
