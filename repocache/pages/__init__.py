"""Pages: responses that are kept with a record of what they were made of, and given again as long
as all of that is as it was."""
