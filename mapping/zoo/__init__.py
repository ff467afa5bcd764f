"""Built-in models: one Hugging Face style ``config.json`` a model, named by its silicast name."""
