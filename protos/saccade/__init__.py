"""Edge-cloud split inference for vision-language models: what both ends share."""
