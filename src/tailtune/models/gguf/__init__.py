"""GGUF files become Hugging Face folders: tables per architecture, values dequantised, tokenizers rebuilt."""
