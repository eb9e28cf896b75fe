"""Where models come from: the catalogue, hubs, wheels, local files in other forms, and what is known of them."""
